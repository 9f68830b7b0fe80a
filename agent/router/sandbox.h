/* sandbox.h - what is left to a process that reads what routers say: sockets of IPv4, memory, the
 * clock, and the descriptors that are open. No file, no program, no other process, no other kind
 * of socket (the agent's own is a Unix socket), no change of the time limit. By seccomp, since
 * Landlock lets sockets with a path through, and few routers' kernels have it [seccomp(2)]. */
#ifndef LANYARD_AGENT_ROUTER_SANDBOX_H
#define LANYARD_AGENT_ROUTER_SANDBOX_H

#include "common/base/attr.h"
#include "common/base/err.h"

/* From here to the end of the process; every other call fails with EPERM. One thread.
 * Errors: ERR_NOMEM; ERR_DENIED when the kernel cannot do it, and nothing has changed then. */
NODISCARD enum err sandbox_enter(void);

#endif
