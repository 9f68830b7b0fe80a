#include "common/net/resolve.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <ares.h>
#include <ares_nameser.h>
#include <event2/event.h>

#include "common/base/buf.h"
#include "common/base/clock.h"

#define EDNS_SIZE 1232 /* what crosses every network unfragmented [DNS flag day 2020] */
#define TRIES 4        /* of UDP, each waiting twice as long as the one before */
#define TRY_MS_MIN 50
#define TRY_MS_MAX 2000
#define NAME_MAX_LEN 253
#define VALUES_MAX (64 * 1024) /* bytes of all values: a DNS message has no more */

struct watch {
    LIST_ENTRY(watch) entry;
    ares_socket_t fd;
    struct event *ev;
};

struct resolve_op {
    struct loop *loop;
    struct loop_timer *timer; /* c-ares' next turn, the deadline, or the end */
    ares_channel channel;
    LIST_HEAD(watches, watch) watches;
    int64_t deadline_ms; /* monotonic */
    bool done, lib_is_up;
    void (*fn)(void *arg, const struct resolve_result *res);
    void *arg;
    char server[ADDR_TEXT_MAX];
    char name[NAME_MAX_LEN + 1];
    struct buf text; /* the values, a NUL after each */
    size_t at[RESOLVE_TXT_MAX];
    struct resolve_result res;
};

static void finish(struct resolve_op *op, enum err e, const char *why)
{
    if (op->done)
        return;
    op->done = true;
    op->res.e = e;
    if (e != ERR_OK)
        (void)err_set(&op->res.info, e, "%s, asked for %s: %s", op->server, op->name, why);
    loop_timer_set(op->timer, 0); /* the channel is not destroyed inside its own callback */
}

/* When c-ares or the deadline is due next. */
static void set_timer(struct resolve_op *op)
{
    int64_t left_ms = op->deadline_ms - clock_mono_ms();
    struct timeval tv;
    if (op->done)
        return;
    if (ares_timeout(op->channel, NULL, &tv) != NULL) {
        int64_t due_ms = (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1;
        left_ms = due_ms < left_ms ? due_ms : left_ms;
    }
    loop_timer_set(op->timer, left_ms);
}

/* --- the answer ---------------------------------------------------------------------------- */

/* A value with a NUL in it is nothing that we could have published: it is left out. */
static void add_value(struct resolve_op *op, size_t from)
{
    if (memchr(op->text.p + from, 0, op->text.len - from) != NULL ||
        op->res.n_values == RESOLVE_TXT_MAX)
        return;
    op->at[op->res.n_values++] = from;
}

static void take_values(struct resolve_op *op, const struct ares_txt_ext *first)
{
    buf_init(&op->text, VALUES_MAX + 256);
    size_t from = 0;
    for (const struct ares_txt_ext *t = first; t != NULL; t = t->next) {
        buf_add(&op->text, t->txt, t->length);
        if (t->next != NULL && !t->next->record_start)
            continue;
        if (buf_error(&op->text) != ERR_OK)
            break;
        add_value(op, from);
        buf_add(&op->text, "", 1);
        from = op->text.len;
    }
    for (size_t i = 0; i < op->res.n_values; i++)
        op->res.values[i] = (const char *)op->text.p + op->at[i];
    if (buf_error(&op->text) != ERR_OK)
        finish(op, ERR_NOMEM, "out of memory");
    else if (op->res.n_values == 0)
        finish(op, ERR_NOTFOUND, "no usable TXT record");
    else
        finish(op, ERR_OK, NULL);
}

static enum err err_of(int status)
{
    switch (status) {
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
        return ERR_NOTFOUND;
    case ARES_ETIMEOUT:
        return ERR_TIMEOUT;
    case ARES_ENOMEM:
        return ERR_NOMEM;
    case ARES_EFORMERR:
    case ARES_ESERVFAIL:
    case ARES_ENOTIMP:
    case ARES_EREFUSED:
    case ARES_EBADRESP:
        return ERR_REMOTE;
    default:
        return ERR_UNAVAILABLE;
    }
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *msg, int len)
{
    struct resolve_op *op = arg;
    struct ares_txt_ext *values = NULL;
    (void)timeouts;
    if (op->done)
        return;
    if (status == ARES_SUCCESS)
        status = ares_parse_txt_reply_ext(msg, len, &values);
    if (status == ARES_SUCCESS)
        take_values(op, values);
    else
        finish(op, err_of(status), ares_strerror(status));
    if (values != NULL)
        ares_free_data(values);
}

/* --- c-ares and the loop ------------------------------------------------------------------- */

static void resolve_on_socket(struct resolve_op *op, ares_socket_t fd, short what)
{
    ares_process_fd(op->channel, (what & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
                    (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    set_timer(op);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    resolve_on_socket(arg, fd, what);
}

static void unwatch(struct watch *w)
{
    LIST_REMOVE(w, entry);
    if (w->ev != NULL)
        event_free(w->ev);
    free(w);
}

/* c-ares says what it waits for on a socket; nothing means that it closes it. */
static void watch_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolve_op *op = arg;
    struct watch *w;
    LIST_FOREACH(w, &op->watches, entry)
    {
        if (w->fd == fd) {
            unwatch(w);
            break;
        }
    }
    int mask = EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);
    if (mask == EV_PERSIST)
        return;
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return; /* the deadline ends it */
    w->fd = fd;
    LIST_INSERT_HEAD(&op->watches, w, entry);
    w->ev = event_new(loop_base(op->loop), fd, (short)mask, on_socket, op);
    if (w->ev != NULL)
        (void)event_add(w->ev, NULL);
}

static void on_timer(void *arg)
{
    struct resolve_op *op = arg;
    if (!op->done && clock_mono_ms() >= op->deadline_ms)
        finish(op, ERR_TIMEOUT, "no answer in time");
    if (op->done) {
        op->fn(op->arg, &op->res);
        resolve_cancel(op);
        return;
    }
    ares_process_fd(op->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(op);
}

/* --- one question -------------------------------------------------------------------------- */

/* Letters, digits, '-' and '_' in labels of 1 to 63: nothing that has to be escaped. */
static bool is_name(const char *name)
{
    size_t label = 0, len = strlen(name);
    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    for (; *name != 0; name++) {
        if (*name == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
                          *name) == NULL ||
                   ++label > 63) {
            return false;
        }
    }
    return true;
}

static int set_server(struct resolve_op *op, const struct addr *server)
{
    struct ares_addr_port_node node = { .family = server->ss.ss_family };
    if (node.family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&server->ss;
        memcpy(&node.addr.addr6, &sin6->sin6_addr, sizeof node.addr.addr6);
        node.udp_port = ntohs(sin6->sin6_port);
    } else {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)&server->ss;
        node.addr.addr4 = sin->sin_addr;
        node.udp_port = ntohs(sin->sin_port);
    }
    node.tcp_port = node.udp_port;
    return ares_set_servers_ports(op->channel, &node);
}

/* A channel that knows this one server and nothing of the system's configuration. */
static enum err open_channel(struct resolve_op *op, const struct addr *server, int64_t timeout_ms)
{
    char lookups[] = "b", no_file[] = "/dev/null";
    int64_t try_ms = timeout_ms / 8;
    try_ms = try_ms < TRY_MS_MIN ? TRY_MS_MIN : try_ms > TRY_MS_MAX ? TRY_MS_MAX : try_ms;
    struct ares_options o = {
        .flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
        .timeout = (int)try_ms,
        .tries = TRIES,
        .lookups = lookups,
        .ednspsz = EDNS_SIZE,
        .resolvconf_path = no_file,
        .sock_state_cb = watch_socket,
        .sock_state_cb_data = op,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
               ARES_OPT_EDNSPSZ | ARES_OPT_RESOLVCONF | ARES_OPT_SOCK_STATE_CB;
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
        return ERR_NOMEM;
    op->lib_is_up = true;
    if (ares_init_options(&op->channel, &o, mask) != ARES_SUCCESS ||
        set_server(op, server) != ARES_SUCCESS)
        return ERR_NOMEM;
    return ERR_OK;
}

enum err resolve_txt(struct loop *l, const struct addr *server, const char *name,
                     int64_t timeout_ms, void (*fn)(void *arg, const struct resolve_result *res),
                     void *arg, struct resolve_op **out)
{
    if (!is_name(name) || (server->ss.ss_family != AF_INET && server->ss.ss_family != AF_INET6))
        return ERR_INVALID;
    struct resolve_op *op = calloc(1, sizeof *op);
    if (op == NULL)
        return ERR_NOMEM;
    op->loop = l;
    op->fn = fn;
    op->arg = arg;
    op->deadline_ms = clock_mono_ms() + timeout_ms;
    LIST_INIT(&op->watches);
    strcpy(op->name, name);
    addr_format(server, op->server);
    enum err e = loop_timer_new(&op->timer, l, on_timer, op);
    if (e == ERR_OK)
        e = open_channel(op, server, timeout_ms);
    if (e != ERR_OK) {
        resolve_cancel(op);
        return e;
    }
    ares_query(op->channel, name, ns_c_in, ns_t_txt, on_answer, op);
    set_timer(op);
    if (out != NULL)
        *out = op;
    return ERR_OK;
}

void resolve_cancel(struct resolve_op *op)
{
    if (op == NULL)
        return;
    op->done = true; /* the channel's last words are not listened to */
    if (op->channel != NULL)
        ares_destroy(op->channel);
    while (!LIST_EMPTY(&op->watches))
        unwatch(LIST_FIRST(&op->watches));
    if (op->lib_is_up)
        ares_library_cleanup();
    loop_timer_free(op->timer);
    buf_clear(&op->text);
    free(op);
}
