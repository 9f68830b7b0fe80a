#include "agent/reloadsignal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/base/attr.h"
#include "common/base/clock.h"

#define PID_FILE_MAX 64
#define STAT_MAX 1024
#define YOUNGER_S 60 /* a file may be written before its process, and clocks are adjusted */
#define TMPFS 0x01021994

static const struct {
    const char *name;
    int number;
} SIGNALS[] = {
    { "HUP", SIGHUP }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 },
    { "INT", SIGINT }, { "TERM", SIGTERM },
};

int reloadsignal_number(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(SIGNALS); i++) {
        if (strcmp(SIGNALS[i].name, name) == 0)
            return SIGNALS[i].number;
    }
    return 0;
}

static const char *signal_name(int number)
{
    for (size_t i = 0; i < ARRAY_LEN(SIGNALS); i++) {
        if (SIGNALS[i].number == number)
            return SIGNALS[i].name;
    }
    return "?";
}

struct pid_file {
    const char *path;
    pid_t pid;
    uid_t owner;
    int64_t written_s;
    bool this_boot; /* in memory: written since the machine started, whatever its time says */
};

/* Reads what is there, up to `size` - 1 bytes, as a string. False when there is more, or none. */
static bool read_text(int fd, char *text, size_t size)
{
    ssize_t n = read(fd, text, size);
    if (n <= 0 || (size_t)n == size)
        return false;
    text[n] = 0;
    return true;
}

/* The number in a file of one line; not that of a process which no pid file is for. */
static bool parse_pid(const char *text, pid_t *pid)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return false;
    long n = strtol(text, &end, 10);
    *pid = n <= INT_MAX ? (pid_t)n : 0;
    return *pid > 1 && *pid != getpid() && end[strspn(end, " \r\n")] == 0;
}

/* Does not wait for anything: a FIFO must not stop the loop. */
static enum err read_pid_file(struct pid_file *f, struct err_info *info)
{
    char text[PID_FILE_MAX];
    struct stat st;
    struct statfs fs;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
    if (fd < 0)
        return err_set(info, ERR_IO, "cannot open %s: %s", f->path,
                       errno == ELOOP ? "it is a symbolic link" : strerror(errno));
    enum err e = ERR_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        e = err_set(info, ERR_INVALID, "%s is not a file", f->path);
    else if (!read_text(fd, text, sizeof text) || !parse_pid(text, &f->pid))
        e = err_set(info, ERR_INVALID, "%s does not have the id of a process", f->path);
    if (e == ERR_OK) {
        f->owner = st.st_uid;
        f->written_s = st.st_mtim.tv_sec;
        f->this_boot = fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS;
    }
    close(fd);
    return e;
}

/* When the process started, in seconds since the machine did, and whose it is. */
static bool look_at_process(pid_t pid, int64_t *started_s, uid_t *owner)
{
    char path[32], text[STAT_MAX];
    struct stat st;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fstat(fd, &st) == 0 && read_text(fd, text, sizeof text);
    close(fd);
    /* the name, in parentheses, may have blanks: field 2; the start is field 22 */
    const char *at = ok ? strrchr(text, ')') : NULL;
    for (int field = 2; field < 22 && at != NULL; field++)
        at = strchr(at + 1, ' ');
    long ticks_s = sysconf(_SC_CLK_TCK);
    if (at == NULL || ticks_s <= 0)
        return false;
    *started_s = (int64_t)(strtoull(at, NULL, 10) / (unsigned long)ticks_s);
    *owner = st.st_uid;
    return true;
}

/* Whether the process is the one that the file was written for, by all that can be seen. A process
 * of which nothing can be seen (/proc is restricted) is taken for it, if the file is to be trusted.
 */
static enum err check_process(const struct pid_file *f, struct err_info *info)
{
    int64_t started_s = 0;
    uid_t owner = 0;
    struct timespec up = { 0 };
    bool seen = look_at_process(f->pid, &started_s, &owner);
    if (f->owner != 0 && f->owner != geteuid() && !(seen && f->owner == owner))
        return err_set(info, ERR_DENIED,
                       "%s belongs to another user (uid %u) than root, the agent's and that of "
                       "process %d",
                       f->path, (unsigned)f->owner, (int)f->pid);
    if (!seen || clock_gettime(CLOCK_BOOTTIME, &up) != 0)
        return ERR_OK;
    int64_t boot_s = clock_now_s() - up.tv_sec;
    if (f->this_boot && f->written_s < boot_s)
        return ERR_OK; /* under a clock that was set since */
    if (boot_s + started_s > f->written_s + YOUNGER_S)
        return err_set(info, ERR_DENIED, "process %d started after %s was written: it is another",
                       (int)f->pid, f->path);
    return ERR_OK;
}

/* A handle of the process, so that what is looked at is what gets the signal; -1 when the kernel
 * has none (before Linux 5.3) or a filter of system calls is in the way. */
static int open_process(pid_t pid)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0);
#else
    (void)pid;
    errno = ENOSYS;
    return -1;
#endif
}

static int send_to(int process, pid_t pid, int signal)
{
#ifdef SYS_pidfd_send_signal
    if (process >= 0)
        return (int)syscall(SYS_pidfd_send_signal, process, signal, NULL, 0);
#endif
    (void)process;
    return kill(pid, signal);
}

static enum err send_signal(struct pid_file *f, int signal, struct err_info *info)
{
    enum err e = read_pid_file(f, info);
    if (e != ERR_OK)
        return e;
    int process = open_process(f->pid);
    e = check_process(f, info);
    if (e == ERR_OK && send_to(process, f->pid, signal) != 0)
        e = err_set(info, ERR_DENIED, "cannot send SIG%s to process %d of %s: %s%s",
                    signal_name(signal), (int)f->pid, f->path, strerror(errno),
                    errno == EPERM ? " (it belongs to another user than the agent's)" : "");
    if (process >= 0)
        close(process);
    return e;
}

void reloadsignal_send(struct hook_result *out, const char *pid_path, int signal,
                       unsigned generation)
{
    struct err_info info;
    struct pid_file f = { .path = pid_path };
    bool sent = send_signal(&f, signal, &info) == ERR_OK;
    *out = (struct hook_result){ .generation = generation,
                                 .at = clock_now_s(),
                                 .exit_status = sent ? 0 : -1 };
    if (sent)
        (void)snprintf(out->output, sizeof out->output, "SIG%s sent to process %d",
                       signal_name(signal), (int)f.pid);
    else
        (void)snprintf(out->output, sizeof out->output, "%s", info.text);
}
