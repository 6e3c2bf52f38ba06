/* The end of a generation: all that the files of this room have hung on it is given back here, which is why this one
 * stands above them. */
#pragma once

#include "supervisor/run/module.h"

/* Frees what is left of it, telling nobody; the leaf must be removed or abandoned by then. NULL is fine. */
Generation *generation_free(Generation *g);
