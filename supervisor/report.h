/* What the face shows: the host's state as JSON (docs/face.md), and the operations it offers to control/. */
#pragma once

#include "supervisor/host.h"

extern const ControlOps report_control_ops;

/* "healthy", "degraded" or "critical"; *ret_reason (may be NULL) is owned by the caller, NULL when healthy. */
const char *report_health(const Host *h, char **ret_reason);
