/* process.h - how a program of ours begins: what main() does before it reads its configuration, and
 * what a daemon needs after it. The main thread, before there are others. */
#ifndef LANYARD_BASE_PROCESS_H
#define LANYARD_BASE_PROCESS_H

#include <sys/resource.h>

/* Opens descriptors 0, 1 and 2 where the caller left them closed, so that no socket gets a number
 * to which somebody writes; ignores SIGPIPE; and does secret_harden_process(). */
void process_begin(void);

/* SIGHUP, which would end a program that does not handle it yet, waits from the one to the other.
 */
void process_hold_reload(void);
void process_release_reload(void);

/* As many descriptors as the system lets us have: connections need them. Returns how many that is;
 * RLIM_INFINITY when it does not say. */
rlim_t process_raise_fd_limit(void);

#endif
