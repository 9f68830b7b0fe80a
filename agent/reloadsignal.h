/* reloadsignal.h - the other way to tell an application of a new certificate than a command: a
 * signal to the process of its pid file. Does not block: what is no file is not read. */
#ifndef LANYARD_AGENT_RELOADSIGNAL_H
#define LANYARD_AGENT_RELOADSIGNAL_H

#include "agent/journal.h"

/* The number of a signal by its name, such as "HUP"; 0 for one that is not for reloading. */
int reloadsignal_number(const char *name);

/* Sends `signal`, a number of reloadsignal_number(), to the process whose id is in the file at
 * `pid_path`, unless a stranger wrote the file or the process is younger than it. How that went is
 * in *out, with a sentence as its output and -1 as exit status when it failed; `generation` is
 * copied into it. */
void reloadsignal_send(struct hook_result *out, const char *pid_path, int signal,
                       unsigned generation);

#endif
