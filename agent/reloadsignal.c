#include "agent/reloadsignal.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"

#define PID_FILE_MAX 64

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

/* The number in a file of one line; 0 for anything that is no process of another program's. */
static pid_t read_pid(const char *path, struct err_info *info)
{
    struct buf text;
    long n = 0;
    buf_init(&text, PID_FILE_MAX);
    if (file_read(path, &text, info) == ERR_OK) {
        char *end;
        const char *from = buf_str(&text);
        n = isdigit((unsigned char)from[0]) ? strtol(from, &end, 10) : 0;
        if (n <= 1 || n > INT_MAX || n == getpid() || end[strspn(end, " \r\n")] != 0) {
            (void)err_set(info, ERR_INVALID, "%s does not have the id of a process", path);
            n = 0;
        }
    }
    buf_clear(&text);
    return (pid_t)n;
}

void reloadsignal_send(struct hook_result *out, const char *pid_path, int signal,
                       unsigned generation)
{
    struct err_info info;
    pid_t pid = read_pid(pid_path, &info);
    bool sent = pid > 0 && kill(pid, signal) == 0;
    if (pid > 0 && !sent)
        (void)err_set(&info, ERR_DENIED, "cannot send SIG%s to process %d of %s: %s%s",
                      signal_name(signal), (int)pid, pid_path, strerror(errno),
                      errno == EPERM ? " (it belongs to another user than the agent's)" : "");
    *out = (struct hook_result){ .generation = generation,
                                 .at = clock_now_s(),
                                 .exit_status = sent ? 0 : -1 };
    if (sent)
        (void)snprintf(out->output, sizeof out->output, "SIG%s sent to process %d",
                       signal_name(signal), (int)pid);
    else
        (void)snprintf(out->output, sizeof out->output, "%s", info.text);
}
