#include "common/base/process.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "common/base/secret.h"

void process_begin(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    /* a log that nobody reads any more is no reason to die */
    (void)signal(SIGPIPE, SIG_IGN);
    secret_harden_process();
}

static void mask_reload(int how)
{
    sigset_t hup;
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    (void)pthread_sigmask(how, &hup, NULL);
}

void process_hold_reload(void)
{
    mask_reload(SIG_BLOCK);
}

void process_release_reload(void)
{
    mask_reload(SIG_UNBLOCK);
}

rlim_t process_raise_fd_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return RLIM_INFINITY;
    rlim_t before = r.rlim_cur;
    r.rlim_cur = r.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &r) == 0 ? r.rlim_max : before;
}
