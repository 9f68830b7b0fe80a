#include "provisiond/admin/dnsask.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <ares.h>

#include "common/base/clock.h"
#include "common/dns/rr.h"
#include "common/dns/wire.h"

#define TRY_MS 2000
#define TRIES 2
#define LIMIT_MS 10000

struct ask {
    struct dnsask *out;               /* either */
    struct dnsask_referral *referral; /* or */
    enum dnsask_type type;
    const char *name;
    int status; /* c-ares' */
    bool done;
};

static void add(struct dnsask *out, const char *text, size_t len)
{
    if (out->n < DNSASK_MAX)
        (void)snprintf(out->text[out->n++], DNSASK_TEXT_MAX, "%.*s", (int)len, text);
}

static int take_hosts(struct ask *a, const unsigned char *msg, int len)
{
    struct hostent *h = NULL;
    char text[INET6_ADDRSTRLEN];
    int rc = a->type == DNSASK_A      ? ares_parse_a_reply(msg, len, &h, NULL, NULL)
             : a->type == DNSASK_AAAA ? ares_parse_aaaa_reply(msg, len, &h, NULL, NULL)
                                      : ares_parse_ns_reply(msg, len, &h);
    if (rc != ARES_SUCCESS)
        return rc;
    if (a->type == DNSASK_NS) {
        for (char **p = h->h_aliases; *p != NULL; p++)
            add(a->out, *p, strlen(*p));
    } else {
        for (char **p = h->h_addr_list; *p != NULL; p++) {
            if (inet_ntop(h->h_addrtype, *p, text, sizeof text) != NULL)
                add(a->out, text, strlen(text));
        }
    }
    ares_free_hostent(h);
    return rc;
}

static int take_txt(struct ask *a, const unsigned char *msg, int len)
{
    struct ares_txt_reply *first = NULL;
    int rc = ares_parse_txt_reply(msg, len, &first);
    for (struct ares_txt_reply *p = first; p != NULL; p = p->next)
        add(a->out, (const char *)p->txt, p->length);
    ares_free_data(first);
    return rc;
}

static int take_caa(struct ask *a, const unsigned char *msg, int len)
{
    struct ares_caa_reply *first = NULL;
    char text[DNSASK_TEXT_MAX];
    int rc = ares_parse_caa_reply(msg, len, &first);
    for (struct ares_caa_reply *p = first; p != NULL && a->out->n < DNSASK_MAX; p = p->next) {
        int n = snprintf(text, sizeof text, "%s %.*s", (const char *)p->property, (int)p->length,
                         (const char *)p->value);
        a->out->critical[a->out->n] = (p->critical & 0x80) != 0; /* [RFC 8659 s4.1] */
        add(a->out, text, n < 0 ? 0 : strlen(text));
    }
    ares_free_data(first);
    return rc;
}

static bool take_name(struct wire_reader *r, char out[DNSASK_TEXT_MAX])
{
    char *text = NULL;
    long len = 0;
    out[0] = 0;
    if (r->bad || ares_expand_name(r->msg.p + r->pos, r->msg.p, (int)r->msg.len, &text, &len) !=
                      ARES_SUCCESS) {
        r->bad = true;
        return false;
    }
    (void)snprintf(out, DNSASK_TEXT_MAX, "%s", text);
    ares_free_string(text);
    return wire_get(r, (size_t)len) != NULL;
}

/* One record; what is no part of a delegation is passed over. */
static void take_record(struct wire_reader *r, const char *zone, struct dnsask_referral *out)
{
    char owner[DNSASK_TEXT_MAX];
    if (!take_name(r, owner))
        return;
    unsigned type = wire_get16(r), class = wire_get16(r);
    (void)wire_get32(r);
    size_t len = wire_get16(r), at = r->pos;
    const uint8_t *data = wire_get(r, len);
    if (data == NULL || class != RR_CLASS_IN)
        return;
    if (type == RR_NS && strcasecmp(owner, zone) == 0 && out->n_ns < DNSASK_MAX) {
        struct wire_reader name = { .msg = r->msg, .pos = at };
        if (take_name(&name, out->ns[out->n_ns]))
            out->n_ns++;
    } else if (((type == RR_A && len == 4) || (type == RR_AAAA && len == 16)) &&
               out->n_glue < ARRAY_LEN(out->glue)) {
        (void)snprintf(out->glue[out->n_glue].host, DNSASK_TEXT_MAX, "%s", owner);
        if (inet_ntop(type == RR_A ? AF_INET : AF_INET6, data, out->glue[out->n_glue].address,
                      sizeof out->glue[0].address) != NULL)
            out->n_glue++;
    }
}

/* The parent's servers answer with a referral; one that has the zone too, with the records. */
static int take_referral(struct dnsask_referral *out, const char *zone, const unsigned char *msg,
                         int len)
{
    struct wire_reader r = { .msg = { msg, (size_t)len } };
    size_t n_questions, n = 0;
    (void)wire_get32(&r);
    n_questions = wire_get16(&r);
    for (int i = 0; i < 3; i++)
        n += wire_get16(&r);
    for (size_t i = 0; i < n_questions && !r.bad; i++) {
        wire_skip_name(&r);
        (void)wire_get32(&r);
    }
    for (size_t i = 0; i < n && !r.bad; i++)
        take_record(&r, zone, out);
    return r.bad ? ARES_EBADRESP : ARES_SUCCESS;
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *msg, int len)
{
    struct ask *a = arg;
    (void)timeouts;
    a->done = true;
    if (a->referral != NULL && (status == ARES_SUCCESS || status == ARES_ENODATA) && msg != NULL)
        status = take_referral(a->referral, a->name, msg, len);
    else if (status == ARES_SUCCESS)
        status = a->type == DNSASK_TXT   ? take_txt(a, msg, len)
                 : a->type == DNSASK_CAA ? take_caa(a, msg, len)
                                         : take_hosts(a, msg, len);
    a->status = status;
}

static void wait_for(ares_channel channel, struct ask *a)
{
    int64_t end_ms = clock_mono_ms() + LIMIT_MS;
    while (!a->done && clock_mono_ms() < end_ms) {
        ares_socket_t fds[ARES_GETSOCK_MAXNUM];
        struct pollfd p[ARES_GETSOCK_MAXNUM];
        nfds_t n = 0;
        /* not by c-ares' macros, which shift into the sign */
        unsigned mask = (unsigned)ares_getsock(channel, fds, ARES_GETSOCK_MAXNUM);
        for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
            short events = (short)(((mask >> i & 1) != 0 ? POLLIN : 0) |
                                   ((mask >> (i + 16) & 1) != 0 ? POLLOUT : 0));
            if (events != 0)
                p[n++] = (struct pollfd){ .fd = fds[i], .events = events };
        }
        if (poll(p, n, 100) <= 0)
            ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        for (nfds_t i = 0; i < n; i++)
            ares_process_fd(channel, (p[i].revents & ~POLLOUT) != 0 ? p[i].fd : ARES_SOCKET_BAD,
                            (p[i].revents & POLLOUT) != 0 ? p[i].fd : ARES_SOCKET_BAD);
    }
}

static enum err err_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
    case ARES_ENODATA:
        return ERR_OK;
    case ARES_ENOTFOUND:
        return ERR_NOTFOUND;
    case ARES_ETIMEOUT:
    case ARES_ECANCELLED:
        return ERR_TIMEOUT;
    case ARES_ECONNREFUSED:
        return ERR_UNAVAILABLE;
    case ARES_ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_REMOTE;
    }
}

static enum err question(const struct addr *server, struct ask *a, int flags, struct err_info *info)
{
    char text[ADDR_TEXT_MAX];
    struct ares_options o = { .timeout = TRY_MS,
                              .tries = TRIES,
                              .flags = ARES_FLAG_NOCHECKRESP | flags };
    ares_channel channel;
    a->status = ARES_ECANCELLED;
    addr_format(server, text);
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
        ares_init_options(&channel, &o, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_FLAGS) !=
            ARES_SUCCESS)
        return err_set(info, ERR_NOMEM, "out of memory");
    a->status = ares_set_servers_ports_csv(channel, text);
    if (a->status == ARES_SUCCESS) {
        ares_query(channel, a->name, 1, (int)a->type, on_answer, a);
        wait_for(channel, a);
        ares_cancel(channel);
    }
    ares_destroy(channel);
    ares_library_cleanup();
    enum err e = err_of(a->status);
    return e == ERR_OK ? e : err_set(info, e, "%s: %s", text, ares_strerror(a->status));
}

enum err dnsask(const struct addr *server, const char *name, enum dnsask_type type,
                struct dnsask *out, struct err_info *info)
{
    struct ask a = { .out = out, .type = type, .name = name };
    out->n = 0;
    return question(server, &a, 0, info);
}

enum err dnsask_referral(const struct addr *server, const char *zone, struct dnsask_referral *out,
                         struct err_info *info)
{
    struct ask a = { .referral = out, .type = DNSASK_NS, .name = zone };
    out->n_ns = out->n_glue = 0;
    return question(server, &a, ARES_FLAG_NORECURSE, info);
}
