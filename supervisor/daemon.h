/* A daemon of one instance, from its options to its exit status:
 *
 *   daemon_new → daemon_run (the loop) → daemon_free */
#pragma once

#include "supervisor/host.h"

/* Reads and checks the configuration, takes the instance, opens the kernel's parts. On failure everything is undone,
 * the reason is on stderr in one line (all complaints of a bad configuration), and *ret_exit says how to exit. */
Host *daemon_new(const HostOptions *options, int *ret_exit);
/* A host with nothing open yet. */
Host *daemon_bare(const HostOptions *options);
/* Runs until all is down again; returns the exit status. */
int daemon_run(Host *h);
/* Undoes whatever of opening was done. NULL is fine. */
Host *daemon_free(Host *h);
