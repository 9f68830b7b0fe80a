/* killat.c - runs a program and kills it, with all its threads, at the entry of its N-th system
 * call that others can see: writes, sends, syncs, names. `killat N PROGRAM ARGUMENTS...`
 *
 * Counting begins with SIGUSR1. SIGTERM is passed on. With N = 0 nobody is killed. The number of
 * calls counted is printed at the end; the status is that of the program, or 137 when killed. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

#include "common/base/attr.h"

static const unsigned long long SEEN_BY_OTHERS[] = {
    SYS_write,     SYS_pwrite64, SYS_writev,    SYS_pwritev,   SYS_sendto,    SYS_sendmsg,
    SYS_connect,   SYS_fsync,    SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_rename,
    SYS_renameat2, SYS_unlink,   SYS_unlinkat,  SYS_linkat,    SYS_openat,    SYS_close,
};

static volatile sig_atomic_t counting;
static pid_t child; /* set before the handlers are */

static void on_signal(int number)
{
    if (number == SIGUSR1)
        counting = 1;
    else
        (void)kill(child, SIGTERM); /* at once: the program may sleep, with no stop to come */
}

static bool is_seen(unsigned long long nr)
{
    for (size_t i = 0; i < ARRAY_LEN(SEEN_BY_OTHERS); i++) {
        if (SEEN_BY_OTHERS[i] == nr)
            return true;
    }
    return false;
}

static bool enters_seen_call(pid_t thread)
{
    struct ptrace_syscall_info info;
    long n = ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof info, &info);
    return n > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY && is_seen(info.entry.nr);
}

/* One stop of a thread: the signal that it goes on with. */
static int signal_to_pass(int status)
{
    int number = WSTOPSIG(status);
    bool ours = number == (SIGTRAP | 0x80) || number == SIGTRAP || number == SIGSTOP;
    return ours ? 0 : number;
}

static int follow(long kill_at)
{
    long n = 0;
    for (;;) {
        int status;
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0 && errno == EINTR)
            continue;
        if (thread < 0)
            return 1;
        if (thread == child && (WIFEXITED(status) || WIFSIGNALED(status))) {
            (void)fprintf(stderr, "killat: %ld calls\n", n);
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        if (!WIFSTOPPED(status))
            continue;
        bool call = WSTOPSIG(status) == (SIGTRAP | 0x80);
        if (counting && call && enters_seen_call(thread) && ++n == kill_at)
            (void)kill(child, SIGKILL);
        (void)ptrace(PTRACE_SYSCALL, thread, NULL, (void *)(long)signal_to_pass(status));
    }
}

int main(int argc, char **argv)
{
    struct sigaction sa = { .sa_handler = on_signal };
    if (argc < 3)
        return 2;
    child = fork();
    if (child == 0) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)raise(SIGSTOP);
        (void)execv(argv[2], argv + 2);
        _exit(127);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 1;
    (void)sigaction(SIGUSR1, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)options) != 0)
        return 1;
    (void)ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    return follow(strtol(argv[1], NULL, 10));
}
