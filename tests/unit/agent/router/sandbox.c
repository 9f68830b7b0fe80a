#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/router/sandbox.h"
#include "common/base/attr.h"
#include "tests/lib/tmpdir.h"

/* Each in a process of its own: what it returns is whether it was done. */
static const char *key; /* the path of identity.pem */
static pid_t parent;

static bool read_key(void)
{
    return open(key, O_RDONLY | O_CLOEXEC) >= 0;
}

static bool read_key_otherwise(void)
{
    return syscall(SYS_openat2, AT_FDCWD, key, NULL, 0) >= 0;
}

static bool write_key(void)
{
    return open(key, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0;
}

static bool move_key(void)
{
    return rename(key, "elsewhere") == 0 || unlink(key) == 0 || chmod(key, 0644) == 0;
}

static bool ask_the_agent(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static bool hear_the_kernel(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0) >= 0;
}

static bool run(void)
{
    char name[] = "true", *const argv[] = { name, NULL };
    return execv("/bin/true", argv) == 0;
}

static bool multiply(void)
{
    return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) >= 0;
}

static bool signal_another(void)
{
    return kill(parent, 0) == 0;
}

static bool trace_another(void)
{
    return ptrace(PTRACE_SEIZE, parent, NULL, NULL) == 0;
}

static bool stay(void)
{
    const struct itimerval never = { 0 };
    return setitimer(ITIMER_REAL, &never, NULL) == 0;
}

static bool make_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool go_round(void)
{
    return syscall(SYS_io_uring_setup, 1, NULL) >= 0;
}

/* One message to ourselves, as a router would be asked. */
static bool talk(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    char word[4] = "";
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 &&
           getsockname(fd, (struct sockaddr *)&at, &len) == 0 &&
           sendto(fd, "ask", 4, 0, (struct sockaddr *)&at, len) == 4 &&
           recv(fd, word, sizeof word, 0) == 4 && strcmp(word, "ask") == 0 && close(fd) == 0;
}

static bool remember(void)
{
    const size_t len = 4 << 20;
    const int how = MAP_PRIVATE | MAP_ANONYMOUS;
    char *much = mmap(NULL, len, PROT_READ | PROT_WRITE, how, -1, 0);
    if (much == MAP_FAILED)
        return false;
    much[len - 1] = 1;
    return munmap(much, len) == 0;
}

/* 0 when it was done, 1 when it was forbidden, 2 for any other reason. */
static int outcome_inside(bool (*fn)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        if (sandbox_enter() != ERR_OK)
            _exit(3);
        errno = 0;
        _exit(fn() ? 0 : errno == EPERM ? 1 : 2);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void test_what_is_left(void **state)
{
    static const struct {
        const char *why;
        bool (*fn)(void);
        bool may;
    } ROWS[] = {
        { "the identity key is not read", read_key, false },
        { "nor by another call", read_key_otherwise, false },
        { "nor written", write_key, false },
        { "nor moved, removed or opened to others", move_key, false },
        { "the agent's control socket would take orders from its user", ask_the_agent, false },
        { "only IPv4", hear_the_kernel, false },
        { "no program", run, false },
        { "no process that outlives this one", multiply, false },
        { "the agent is its own user's", signal_another, false },
        { "the agent's memory", trace_another, false },
        { "the time limit stays", stay, false },
        { "no code but the program's", make_code, false },
        { "no way round these", go_round, false },
        { "a router is asked and heard", talk, true },
        { "memory for what it says", remember, true },
    };
    (void)state;
    if (prctl(PR_GET_SECCOMP) < 0) {
        print_message("no seccomp here: nothing was tested\n");
        skip();
    }
    struct tmpdir d;
    tmpdir_make(&d);
    tmpdir_write(&d, "identity.pem", "");
    key = tmpdir_file(&d, "identity.pem");
    parent = getpid();
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        print_message("%s\n", ROWS[i].why);
        assert_int_equal(outcome_inside(ROWS[i].fn), ROWS[i].may ? 0 : 1);
    }
    assert_int_equal(access(key, F_OK), 0);
    tmpdir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_is_left) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
