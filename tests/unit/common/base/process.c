#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/process.h"

/* What a process of its own returns: 0 is well. */
static int outcome_of(int (*fn)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn());
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* A socket that is made next gets none of the three. */
static int begin_without_descriptors(void)
{
    for (int fd = 0; fd < 16; fd++)
        close(fd);
    process_begin();
    return dup(STDERR_FILENO) == STDERR_FILENO + 1 ? 0 : 1;
}

/* A reader that went away is an error of write(), not the end. */
static int write_to_nobody(void)
{
    int ends[2];
    process_begin();
    if (pipe(ends) != 0)
        return 2;
    close(ends[0]);
    return write(ends[1], "x", 1) == -1 ? 0 : 1;
}

static volatile sig_atomic_t n_reloads;

static void on_reload(int signum)
{
    (void)signum;
    n_reloads++;
}

/* Before anybody handles it, and then exactly once. */
static int reload_early(void)
{
    process_begin();
    process_hold_reload();
    (void)raise(SIGHUP);
    (void)signal(SIGHUP, on_reload);
    if (n_reloads != 0)
        return 1;
    process_release_reload();
    return n_reloads == 1 ? 0 : 2;
}

static int raise_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return 1;
    r.rlim_cur = 100;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0 || process_raise_fd_limit() != r.rlim_max)
        return 2;
    return getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur == r.rlim_max ? 0 : 3;
}

static void test_beginnings(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(begin_without_descriptors), 0);
    assert_int_equal(outcome_of(write_to_nobody), 0);
    assert_int_equal(outcome_of(reload_early), 0);
    assert_int_equal(outcome_of(raise_limit), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_beginnings) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
