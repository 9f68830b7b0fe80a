#include "agent/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/address.h"
#include "agent/ask.h"
#include "agent/resolvers.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define AT_ONCE 4 /* questions to one server */
#define TARGETS_MAX (VERDICT_RESOLVERS_MAX + 1)
#define DNS_PORT 53

_Static_assert(VERDICT_FIRST_N <= AT_ONCE, "who is not there is known after one question's time");

struct target;

struct slot {
    struct target *target;
    enum verdict_ask what;
    struct ask *ask; /* NULL: free */
};

/* One server, and how far we are with it. */
struct target {
    struct look *look;
    struct addr addr;
    unsigned next; /* enum verdict_ask */
    unsigned n_open;
    bool done;
    struct slot slots[AT_ONCE];
};

/* All there is during a look; most of the time there is none. */
struct look {
    struct probe *probe;
    struct verdict_subject subject;
    size_t n;
    struct target targets[TARGETS_MAX];
    struct verdict_answers answers[TARGETS_MAX]; /* of each */
    struct ask *reference;                       /* the address of the zone's name server */
    bool reference_sought;
};

struct probe {
    struct loop *loop;
    const struct config *config;
    struct verdict_subject subject; /* zone, id and public address; the rest is seen at each look */
    void (*fn)(void *arg);
    void *arg;
    struct look *look;
    struct loop_timer *begin;
    bool again;
    struct verdict_report *report;
};

static void proceed(struct target *t);

/* ---- the end --------------------------------------------------------------------------------- */

static void look_free(struct look *k)
{
    if (k == NULL)
        return;
    ask_cancel(k->reference);
    for (size_t i = 0; i < k->n; i++) {
        for (size_t s = 0; s < AT_ONCE; s++)
            ask_cancel(k->targets[i].slots[s].ask);
    }
    free(k);
}

static void finish(struct look *k)
{
    struct probe *p = k->probe;
    struct verdict_report *report = malloc(sizeof *report);
    if (report != NULL) {
        verdict_judge(report, &k->subject, k->answers, k->n);
        report->checked_at = clock_now_s();
        free(p->report);
        p->report = report;
    }
    p->look = NULL;
    look_free(k);
    if (p->again) {
        p->again = false;
        loop_timer_set(p->begin, 0);
    }
    p->fn(p->arg);
}

/* ---- the truth: a name server of the zone ---------------------------------------------------- */

static void add_target(struct look *k, const struct addr *addr, enum verdict_source source)
{
    struct target *t = &k->targets[k->n];
    struct verdict_answers *a = &k->answers[k->n++];
    struct span ip = addr_ip((const struct sockaddr *)&addr->ss);
    *t = (struct target){ .look = k, .addr = *addr };
    a->source = source;
    addr_format(addr, a->address);
    a->ip.family = ip.len == 4 ? 4 : 6;
    memcpy(a->ip.bytes, ip.p, ip.len);
}

static void on_reference(void *arg, const struct lookup_reply *reply)
{
    struct look *k = arg;
    struct addr addr = { .len = sizeof(struct sockaddr_in) };
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(DNS_PORT) };
    k->reference = NULL;
    if (reply == NULL || reply->n_ips == 0 || reply->ips[0].family != 4) {
        finish(k);
        return;
    }
    memcpy(&sin.sin_addr, reply->ips[0].bytes, sizeof sin.sin_addr);
    memcpy(&addr.ss, &sin, sizeof sin);
    add_target(k, &addr, SOURCE_REFERENCE);
    proceed(&k->targets[k->n - 1]);
}

/* Whether the address of a name server is being asked for. */
static bool seek_reference(struct look *k)
{
    struct lookup q = { .type = RR_A, .class = RR_CLASS_IN };
    bool known = k->reference_sought;
    k->reference_sought = true;
    for (size_t i = 0; !known && i < k->n; i++) {
        const struct verdict_seen *zone = &k->answers[i].seen[ASK_ZONE];
        if (zone->answered && name_parse(&q.name, zone->reply.text) == ERR_OK &&
            q.name.n_labels > 0)
            return ask_start(&k->reference, k->probe->loop, &k->targets[i].addr, &q,
                             &k->subject.zone, on_reference, k) == ERR_OK;
    }
    return false;
}

/* ---- the questions --------------------------------------------------------------------------- */

static void on_answer(void *arg, const struct lookup_reply *reply)
{
    struct slot *s = arg;
    struct target *t = s->target;
    struct verdict_seen *seen = &t->look->answers[t - t->look->targets].seen[s->what];
    s->ask = NULL;
    t->n_open--;
    seen->answered = reply != NULL;
    if (reply != NULL)
        seen->reply = *reply;
    proceed(t);
}

static struct slot *free_slot(struct target *t)
{
    for (size_t i = 0; i < AT_ONCE; i++) {
        if (t->slots[i].ask == NULL)
            return &t->slots[i];
    }
    return NULL;
}

/* Asks the next question, if it makes sense. */
static void ask_next(struct target *t)
{
    struct look *k = t->look;
    struct verdict_answers *a = &k->answers[t - k->targets];
    struct slot *s = free_slot(t);
    struct lookup q;
    enum verdict_ask what = (enum verdict_ask)t->next++;
    if (s == NULL || verdict_question(&q, what, &k->subject, a) != ERR_OK)
        return;
    *s = (struct slot){ .target = t, .what = what };
    if (ask_start(&s->ask, k->probe->loop, &t->addr, &q, &k->subject.zone, on_answer, s) !=
        ERR_OK) {
        s->ask = NULL;
        return;
    }
    a->seen[what].asked = true;
    t->n_open++;
}

static bool is_there(const struct verdict_answers *a)
{
    for (unsigned i = 0; i < VERDICT_FIRST_N; i++) {
        if (a->seen[i].answered)
            return true;
    }
    return false;
}

/* Whether the next question has to wait for the answers under way: those that tell whether anybody
 * is there, and the last, which hangs on another one. */
static bool must_wait(const struct target *t)
{
    return t->n_open > 0 &&
           (t->n_open == AT_ONCE || t->next == VERDICT_FIRST_N || t->next == ASK_OWN_RAW);
}

static void on_target_done(struct look *k)
{
    for (size_t i = 0; i < k->n; i++) {
        if (!k->targets[i].done)
            return;
    }
    if (!seek_reference(k))
        finish(k);
}

/* May end the look. */
static void proceed(struct target *t)
{
    const struct verdict_answers *a = &t->look->answers[t - t->look->targets];
    while (t->next < VERDICT_ASK_N && !must_wait(t)) {
        if (t->next == VERDICT_FIRST_N && !is_there(a))
            t->next = VERDICT_ASK_N;
        else
            ask_next(t);
    }
    if (t->next == VERDICT_ASK_N && t->n_open == 0) {
        t->done = true;
        on_target_done(t->look);
    }
}

/* ---- the beginning --------------------------------------------------------------------------- */

static void choose_addresses(struct verdict_subject *s, const struct config *c)
{
    struct ip list[ADDRESS_MAX];
    size_t n = address_list(c, list);
    s->own = (struct ip){ 4, { 192, 168, 1, 1 } };
    s->ula = (struct ip){ 6, { 0xfd, [15] = 1 } };
    for (size_t i = n; i-- > 0;) { /* the first of each kind */
        if (ip_classify(&list[i]) == IP_PRIVATE)
            *(list[i].family == 4 ? &s->own : &s->ula) = list[i];
    }
}

static void begin(void *arg)
{
    struct probe *p = arg;
    struct resolver found[VERDICT_RESOLVERS_MAX];
    struct look *k = calloc(1, sizeof *k);
    if (k == NULL) {
        log_error("the resolvers are not looked at: out of memory");
        p->fn(p->arg);
        return;
    }
    p->look = k;
    k->probe = p;
    k->subject = p->subject;
    choose_addresses(&k->subject, p->config);
    size_t n = resolvers_list(p->config, found);
    for (size_t i = 0; i < n; i++)
        add_target(k, &found[i].addr, found[i].source);
    k->reference_sought = p->config->zone_server.len > 0;
    if (k->reference_sought)
        add_target(k, &p->config->zone_server, SOURCE_REFERENCE);
    if (k->n == 0) {
        finish(k);
        return;
    }
    /* none is through before this is: every answer comes from the loop */
    for (size_t i = k->n; i-- > 0;)
        proceed(&k->targets[i]);
}

void probe_start(struct probe *p)
{
    if (p->look != NULL)
        p->again = true;
    else
        loop_timer_set(p->begin, 0);
}

bool probe_is_running(const struct probe *p)
{
    return p->look != NULL;
}

const struct verdict_report *probe_report(const struct probe *p)
{
    return p->report;
}

void probe_set_config(struct probe *p, const struct config *config)
{
    p->config = config;
}

void probe_set_public(struct probe *p, const struct ip *ip, const char *label)
{
    p->subject.gua = *ip;
    (void)snprintf(p->subject.gua_label, sizeof p->subject.gua_label, "%s",
                   ip->family == 6 ? label : "");
}

enum err probe_new(struct probe **out, struct loop *l, const struct config *config, const char *id,
                   void (*fn)(void *arg), void *arg)
{
    struct probe *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->loop = l;
    p->config = config;
    p->fn = fn;
    p->arg = arg;
    (void)snprintf(p->subject.id, sizeof p->subject.id, "%s", id);
    enum err e = name_parse(&p->subject.zone, config->zone);
    if (e == ERR_OK)
        e = loop_timer_new(&p->begin, l, begin, p);
    if (e != ERR_OK) {
        probe_free(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void probe_free(struct probe *p)
{
    if (p == NULL)
        return;
    look_free(p->look);
    loop_timer_free(p->begin);
    free(p->report);
    free(p);
}

static void on_once(void *arg)
{
    loop_stop(arg);
}

enum err probe_once(struct verdict_report **out, const struct config *config, const char *id,
                    struct err_info *info)
{
    struct loop *loop = NULL;
    struct probe *p = NULL;
    enum err e = loop_new(&loop);
    if (e == ERR_OK)
        e = probe_new(&p, loop, config, id, on_once, loop);
    if (e == ERR_OK) {
        probe_start(p);
        loop_run(loop);
        *out = p->report;
        p->report = NULL;
    }
    probe_free(p);
    loop_free(loop);
    if (e != ERR_OK || *out == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    return ERR_OK;
}
