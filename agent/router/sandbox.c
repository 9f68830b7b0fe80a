#include "agent/router/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* By name, since machines differ in what they call the same; a name that this one has not is left
 * out. open, kill, execve, clone, setitimer, ioctl and their like are not here. */
static const char *const ALLOWED[] = {
    /* descriptors */
    "close", "fcntl", "fcntl64", "read", "readv", "write", "writev", "poll", "ppoll",
    "ppoll_time64", "select", "_newselect", "pselect6", "pselect6_time64",
    /* sockets that there are */
    "bind", "connect", "getpeername", "getsockname", "getsockopt", "setsockopt", "recv", "recvfrom",
    "recvmsg", "send", "sendto", "sendmsg", "shutdown",
    /* memory */
    "brk", "madvise", "mremap", "munmap",
    /* time and chance */
    "clock_gettime", "clock_gettime64", "gettimeofday", "time", "clock_nanosleep",
    "clock_nanosleep_time64", "nanosleep", "getrandom",
    /* the C library's own */
    "exit", "exit_group", "futex", "futex_time64", "restart_syscall", "rt_sigreturn", "sigreturn"
};

static int allow(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp inet = { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = AF_INET };
    const struct scmp_arg_cmp no_code = { .arg = 2,
                                          .op = SCMP_CMP_MASKED_EQ,
                                          .datum_a = PROT_EXEC };
    const int mapping[] = { SCMP_SYS(mmap), SCMP_SYS(mmap2), SCMP_SYS(mprotect) };
    int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, inet);
    for (size_t i = 0; i < ARRAY_LEN(mapping) && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, mapping[i], 1, no_code);
    for (size_t i = 0; i < ARRAY_LEN(ALLOWED) && rc == 0; i++) {
        int call = seccomp_syscall_resolve_name(ALLOWED[i]);
        if (call != __NR_SCMP_ERROR)
            rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
    }
    return rc;
}

enum err sandbox_enter(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL)
        return ERR_NOMEM;
    int rc = allow(filter);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc == 0 ? ERR_OK : rc == -ENOMEM ? ERR_NOMEM : ERR_DENIED;
}
