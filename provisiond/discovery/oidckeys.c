#include "provisiond/discovery/oidckeys.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/logbudget.h"
#include "common/net/fetch.h"
#include "provisiond/core/gcra.h"
#include "provisiond/core/oidcdoc.h"

#define FETCH_MS 5000  /* for each of the two documents */
#define RETRY_MS 10000 /* after a fetch that failed, while there are no keys */
#define FRESH_MS INT64_C(3600000)
#define STALE_MS INT64_C(86400000)

/* Fetches for the sake of keys that are not known: anybody can name one. */
static const struct gcra_rate UNKNOWN_KEYS = { 60000, 3 };

struct source {
    struct oidckeys *owner;
    const struct config_zone *zone; /* NULL: it has no issuer */
    struct fetch *fetch;
    struct fetch_op *op;          /* NULL: nothing is being fetched */
    struct jwks *keys;            /* NULL: none yet */
    int64_t fetched_ms, tried_ms; /* monotonic; tried_ms 0: never */
    int64_t unknown_tat;          /* spent of UNKNOWN_KEYS */
    struct oidckeys_wait *waiters;
    struct logbudget budget;
};

struct oidckeys {
    struct oidckeys_counts counts;
    size_t n;
    struct source sources[CONFIG_LIST_MAX]; /* as config.zones */
};

static enum err open_source(struct source *s, struct loop *l, struct err_info *info)
{
    struct fetch_options o = { .user_agent = "lanyard-provisiond/" LANYARD_VERSION,
                               .ca_file = s->zone->oidc_ca_file,
                               .connections_max = 1 };
    enum err e = fetch_new(&s->fetch, l, &o, info);
    return e == ERR_OK ? e : err_prefix(info, e, "zone %s: oidc_ca_file: ", s->zone->name);
}

enum err oidckeys_new(struct oidckeys **out, struct loop *l, const struct config *config,
                      struct err_info *info)
{
    struct oidckeys *o = calloc(1, sizeof *o);
    enum err e = o == NULL ? err_set(info, ERR_NOMEM, "out of memory") : ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < config->n_zones; i++) {
        struct source *s = &o->sources[o->n++];
        s->owner = o;
        if (config->zones[i].oidc_issuer == NULL)
            continue;
        s->zone = &config->zones[i];
        e = open_source(s, l, info);
    }
    if (e != ERR_OK) {
        oidckeys_free(o);
        return e;
    }
    *out = o;
    return ERR_OK;
}

void oidckeys_free(struct oidckeys *o)
{
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->n; i++) {
        while (o->sources[i].waiters != NULL)
            oidckeys_cancel(o->sources[i].waiters);
        fetch_free(o->sources[i].fetch);
        jwks_free(o->sources[i].keys);
    }
    free(o);
}

const struct oidckeys_counts *oidckeys_counts(const struct oidckeys *o)
{
    return &o->counts;
}

/* --- waiting --- */

static enum err start_waiting(struct source *s, struct oidckeys_wait *w)
{
    size_t n = 0;
    for (const struct oidckeys_wait *other = s->waiters; other != NULL; other = other->next)
        n++;
    if (n >= OIDCKEYS_WAIT_MAX)
        return ERR_UNAVAILABLE;
    w->has_waited = true;
    w->head = &s->waiters;
    w->prev = NULL;
    w->next = s->waiters;
    if (w->next != NULL)
        w->next->prev = w;
    s->waiters = w;
    return ERR_AGAIN;
}

void oidckeys_cancel(struct oidckeys_wait *w)
{
    if (w->head == NULL)
        return;
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        *w->head = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    w->head = NULL;
}

/* --- fetching --- */

static void end_fetch(struct source *s, enum err e, const struct err_info *info)
{
    unsigned left_out;
    int64_t now_ms = clock_mono_ms();
    s->op = NULL;
    s->tried_ms = now_ms;
    if (e == ERR_OK)
        s->fetched_ms = now_ms;
    metric_add(e == ERR_OK ? &s->owner->counts.fetched : &s->owner->counts.failed, 1);
    if (e != ERR_OK && logbudget_spend(&s->budget, now_ms, &left_out))
        log_warn("zone %s: no keys from oidc_issuer: %s%s", s->zone->name, info->text,
                 left_out > 0 ? " (and more of these)" : "");
    /* who fails again is not called again: each is taken off first */
    while (s->waiters != NULL) {
        struct oidckeys_wait *w = s->waiters;
        oidckeys_cancel(w);
        w->fn(w->arg);
    }
}

/* A complete answer with status 200; *info says what else it was. */
static enum err check_answer(const struct fetch_result *res, struct err_info *info)
{
    if (res->e != ERR_OK) {
        *info = res->info;
        return res->e;
    }
    if (res->status != 200)
        return err_set(info, ERR_REMOTE, "it answers with status %d", res->status);
    return ERR_OK;
}

static void on_keys(void *arg, const struct fetch_result *res)
{
    struct source *s = arg;
    struct jwks *keys = NULL;
    struct err_info info = { "" };
    enum err e = check_answer(res, &info);
    if (e == ERR_OK)
        e = jwks_parse(&keys, res->body, &info);
    if (e == ERR_OK) {
        jwks_free(s->keys);
        s->keys = keys;
    }
    end_fetch(s, e, &info);
}

static enum err start_fetch(struct source *s, const char *url, size_t body_max,
                            void (*fn)(void *arg, const struct fetch_result *res))
{
    const struct fetch_request r = {
        .method = "GET", .url = url, .body_max = body_max, .timeout_ms = FETCH_MS
    };
    enum err e = fetch_start(s->fetch, &r, fn, s, &s->op);
    if (e != ERR_OK)
        s->op = NULL;
    return e;
}

static void on_document(void *arg, const struct fetch_result *res)
{
    struct source *s = arg;
    char url[OIDCDOC_URL_MAX];
    struct err_info info = { "" };
    enum err e = check_answer(res, &info);
    if (e == ERR_OK)
        e = oidcdoc_parse(url, res->body, s->zone->oidc_issuer, &info);
    if (e == ERR_OK) {
        e = start_fetch(s, url, JWKS_TEXT_MAX, on_keys);
        if (e != ERR_OK)
            (void)err_set(&info, e, "its key set cannot be fetched: %s", err_name(e));
    }
    if (e != ERR_OK)
        end_fetch(s, e, &info);
}

/* Whether something is being fetched now. */
static bool refresh(struct source *s)
{
    char url[OIDCDOC_URL_MAX];
    if (s->op != NULL)
        return true;
    s->tried_ms = clock_mono_ms();
    return oidcdoc_url(url, s->zone->oidc_issuer) == ERR_OK &&
           start_fetch(s, url, OIDCDOC_MAX, on_document) == ERR_OK;
}

/* --- using --- */

static bool is_due(const struct source *s)
{
    return s->op != NULL || s->tried_ms == 0 || clock_mono_ms() - s->tried_ms >= RETRY_MS;
}

static bool is_due_for_unknown(struct source *s)
{
    return s->op != NULL || gcra_take(&s->unknown_tat, &UNKNOWN_KEYS, clock_mono_ms()) == 0;
}

enum err oidckeys_verify(struct oidckeys *o, size_t zone, const struct jwt *t, struct span token,
                         struct oidckeys_wait *wait)
{
    struct source *s = &o->sources[zone];
    int64_t age_ms = clock_mono_ms() - s->fetched_ms;
    if (s->keys != NULL && age_ms >= STALE_MS) {
        jwks_free(s->keys);
        s->keys = NULL;
    }
    if (s->keys == NULL)
        return !wait->has_waited && is_due(s) && refresh(s) ? start_waiting(s, wait)
                                                            : ERR_UNAVAILABLE;
    enum err e = jwt_verify(t, token, s->keys);
    if (e == ERR_NOTFOUND) /* the issuer may sign with a new key */
        return !wait->has_waited && is_due_for_unknown(s) && refresh(s) ? start_waiting(s, wait)
                                                                        : ERR_CRYPTO;
    if (age_ms >= FRESH_MS && is_due(s))
        (void)refresh(s);
    return e;
}
