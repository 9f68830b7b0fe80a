#include "agent/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/clock.h"
#include "common/net/listen.h"

#define COMMAND_MAX 128
#define CLIENTS_MAX 16
#define CLIENT_MS 5000 /* to say its command, and to take the reply */
#define PAUSE_MS 500   /* after the system ran out of descriptors or memory */

struct control_req {
    struct control_req *next;
    struct control *owner;
    int fd;
    struct event *ev;
    struct loop_timer *timer;
    char command[COMMAND_MAX + 1];
    size_t len; /* of the command so far */
    bool asked; /* with the handler: nothing may end it but the reply */
    char *reply;
    size_t reply_len, sent;
};

struct control {
    struct loop *loop;
    int fd;
    char *path;
    struct event *ev;
    struct loop_timer *pause;
    control_handler *fn;
    void *arg;
    struct control_req *clients;
    size_t n_clients;
};

static void free_req(struct control_req *r)
{
    struct control *c = r->owner;
    for (struct control_req **at = &c->clients; *at != NULL; at = &(*at)->next) {
        if (*at == r) {
            *at = r->next;
            c->n_clients--;
            break;
        }
    }
    if (r->ev != NULL)
        event_free(r->ev);
    loop_timer_free(r->timer);
    close(r->fd);
    free(r->reply);
    free(r);
}

/* Sends what is left; true when there is nothing more to send, or nobody to send it to. */
static bool send_reply(struct control_req *r)
{
    while (r->sent < r->reply_len) {
        ssize_t n = send(r->fd, r->reply + r->sent, r->reply_len - r->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno != EAGAIN;
        r->sent += (size_t)n;
    }
    return true;
}

static void read_command(struct control_req *r)
{
    ssize_t n = recv(r->fd, r->command + r->len, COMMAND_MAX - r->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        free_req(r);
        return;
    }
    r->len += (size_t)n;
    char *end = memchr(r->command, '\n', r->len);
    if (end == NULL) {
        if (r->len == COMMAND_MAX)
            free_req(r);
        return;
    }
    *end = 0;
    r->asked = true;
    (void)event_del(r->ev);
    loop_timer_cancel(r->timer);
    r->owner->fn(r->owner->arg, r, r->command);
}

static void on_client(evutil_socket_t fd, short what, void *arg)
{
    struct control_req *r = arg;
    (void)fd;
    (void)what;
    if (r->reply == NULL)
        read_command(r);
    else if (send_reply(r))
        free_req(r);
}

static void on_timer(void *arg)
{
    free_req(arg);
}

void control_reply(struct control_req *r, json_t *reply)
{
    r->reply = reply != NULL ? json_dumps(reply, JSON_COMPACT) : NULL;
    json_decref(reply);
    r->reply_len = r->reply != NULL ? strlen(r->reply) : 0;
    if (send_reply(r)) {
        free_req(r);
        return;
    }
    (void)event_assign(r->ev, loop_base(r->owner->loop), r->fd, EV_WRITE | EV_PERSIST, on_client,
                       r);
    (void)event_add(r->ev, NULL);
    loop_timer_set(r->timer, CLIENT_MS);
}

static void add_client(struct control *c, int fd)
{
    struct control_req *r = c->n_clients < CLIENTS_MAX ? calloc(1, sizeof *r) : NULL;
    if (r == NULL) {
        close(fd);
        return;
    }
    r->owner = c;
    r->fd = fd;
    r->next = c->clients;
    c->clients = r;
    c->n_clients++;
    r->ev = event_new(loop_base(c->loop), fd, EV_READ | EV_PERSIST, on_client, r);
    if (r->ev == NULL || loop_timer_new(&r->timer, c->loop, on_timer, r) != ERR_OK ||
        event_add(r->ev, NULL) != 0) {
        free_req(r);
        return;
    }
    loop_timer_set(r->timer, CLIENT_MS);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct control *c = arg;
    (void)what;
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client >= 0) {
        add_client(c, client);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        /* who waits would wake us again and again */
        (void)event_del(c->ev);
        loop_timer_set(c->pause, PAUSE_MS);
    }
}

static void on_pause_over(void *arg)
{
    struct control *c = arg;
    (void)event_add(c->ev, NULL);
}

enum err control_new(struct control **out, struct loop *l, const char *path, control_handler *fn,
                     void *arg, struct err_info *info)
{
    struct control *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    *c = (struct control){ .loop = l, .fd = -1, .fn = fn, .arg = arg };
    enum err e = listen_unix(&c->fd, path, 0600, info);
    if (e == ERR_OK) {
        c->path = strdup(path);
        c->ev = event_new(loop_base(l), c->fd, EV_READ | EV_PERSIST, on_accept, c);
        if (c->path == NULL || c->ev == NULL || event_add(c->ev, NULL) != 0 ||
            loop_timer_new(&c->pause, l, on_pause_over, c) != ERR_OK)
            e = err_set(info, ERR_NOMEM, "out of memory");
    }
    if (e != ERR_OK) {
        control_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void control_free(struct control *c)
{
    if (c == NULL)
        return;
    while (c->clients != NULL) {
        if (c->clients->reply != NULL)
            (void)send_reply(c->clients);
        free_req(c->clients);
    }
    if (c->ev != NULL)
        event_free(c->ev);
    loop_timer_free(c->pause);
    if (c->fd >= 0)
        close(c->fd);
    if (c->path != NULL)
        (void)unlink(c->path);
    free(c->path);
    free(c);
}

/* ---- the client ----------------------------------------------------------------------------- */

static enum err read_reply(int fd, int64_t deadline_ms, struct buf *out, struct err_info *info)
{
    char piece[4096];
    for (;;) {
        int64_t left_ms = deadline_ms - clock_mono_ms();
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int rc = left_ms <= 0 ? 0 : poll(&p, 1, (int)left_ms);
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc <= 0)
            return err_set(info, ERR_TIMEOUT, "the agent did not answer in time");
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n < 0)
            return err_set(info, ERR_REMOTE, "the agent did not answer: %s", strerror(errno));
        if (n == 0)
            return buf_error(out);
        buf_add(out, piece, (size_t)n);
    }
}

static enum err connect_to(int *fd, const char *path, struct err_info *info)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof sun.sun_path)
        return err_set(info, ERR_LIMIT, "socket path too long: %s", path);
    strcpy(sun.sun_path, path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return err_set(info, ERR_IO, "cannot make a socket: %s", strerror(errno));
    if (connect(s, (const struct sockaddr *)&sun, sizeof sun) != 0) {
        int errnum = errno;
        close(s);
        if (errnum == ENOENT || errnum == ECONNREFUSED)
            return err_set(info, ERR_UNAVAILABLE, "no agent is running (nobody listens at %s)",
                           path);
        return err_set(info, err_from_errno(errnum), "cannot reach the agent at %s: %s", path,
                       strerror(errnum));
    }
    *fd = s;
    return ERR_OK;
}

enum err control_ask(json_t **out, const char *path, const char *command, int64_t timeout_ms,
                     struct err_info *info)
{
    struct buf text;
    int fd = -1;
    buf_init(&text, CONTROL_REPLY_MAX);
    enum err e = connect_to(&fd, path, info);
    if (e != ERR_OK)
        return e;
    char line[COMMAND_MAX + 1];
    int n = snprintf(line, sizeof line, "%s\n", command);
    if (n < 0 || (size_t)n >= sizeof line || send(fd, line, (size_t)n, MSG_NOSIGNAL) != n)
        e = err_set(info, ERR_REMOTE, "cannot talk to the agent");
    if (e == ERR_OK)
        e = read_reply(fd, clock_mono_ms() + timeout_ms, &text, info);
    if (e == ERR_OK) {
        *out = json_loadb(buf_str(&text), text.len, 0, NULL);
        if (*out == NULL)
            e = err_set(info, ERR_REMOTE, "the agent did not answer");
    }
    close(fd);
    buf_clear(&text);
    return e;
}
