/* reloadsignal.h - the other way to tell an application of a new certificate than a command: a
 * signal to the process of its pid file. Blocks for that file only. */
#ifndef LANYARD_AGENT_RELOADSIGNAL_H
#define LANYARD_AGENT_RELOADSIGNAL_H

#include "agent/journal.h"

/* The number of a signal by its name, such as "HUP"; 0 for one that is not for reloading. */
int reloadsignal_number(const char *name);

/* Sends `signal`, a number of reloadsignal_number(), to the process whose id is in the file at
 * `pid_path`. How that went is in *out, with a sentence as its output and -1 as exit status when it
 * failed; `generation` is copied into it. */
void reloadsignal_send(struct hook_result *out, const char *pid_path, int signal,
                       unsigned generation);

#endif
