#include "provisiond/crlsync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/local/localcrl.h"
#include "provisiond/store/revocation.h"

#define EVERY_MS 60000
#define ANEW_S 86400 /* a list that has not changed */

struct list {
    struct localcrl_entry *p;
    size_t n, cap;
    bool failed;
};

struct crlsync {
    struct job job; /* first */
    const struct config *config;
    const struct issuers *issuers;
    struct jobs *store;
    struct loop_timer *timer;
    size_t at; /* the issuer that is looked at */
    struct list fresh;
    struct list written[CONFIG_LIST_MAX];
    int64_t written_at[CONFIG_LIST_MAX];
};

static void add(void *arg, const char *serial, int reason, int64_t at)
{
    struct list *l = arg;
    if (l->n == l->cap) {
        size_t cap = l->cap > 0 ? 2 * l->cap : 64;
        struct localcrl_entry *p = realloc(l->p, cap * sizeof *p);
        if (p == NULL) {
            l->failed = true;
            return;
        }
        l->p = p;
        l->cap = cap;
    }
    struct localcrl_entry *e = &l->p[l->n++];
    memset(e, 0, sizeof *e); /* compared as bytes */
    (void)snprintf(e->serial, sizeof e->serial, "%s", serial);
    e->reason = reason;
    e->at = at;
}

static enum err run(struct job *j, void *ctx)
{
    struct crlsync *s = (struct crlsync *)j;
    s->fresh.n = 0;
    s->fresh.failed = false;
    enum err e = revocation_listed(ctx, s->config->issuers[s->at].name, clock_now_s(), add,
                                   &s->fresh, &j->info);
    return e == ERR_OK && s->fresh.failed ? err_set(&j->info, ERR_NOMEM, "out of memory") : e;
}

/* The handle of the CA belongs to the loop, so the list is signed here: a few milliseconds. */
static enum err write_list(struct crlsync *s, struct err_info *info)
{
    struct list *old = &s->written[s->at];
    int64_t now = clock_now_s(), age_s = now - s->written_at[s->at];
    if (s->written_at[s->at] != 0 && age_s >= 0 && age_s < ANEW_S && old->n == s->fresh.n &&
        (old->n == 0 || memcmp(old->p, s->fresh.p, old->n * sizeof *old->p) == 0))
        return ERR_OK;
    enum err e = localcrl_write(issuers_ca(s->issuers, s->at), s->fresh.p, s->fresh.n, now,
                                s->config->issuers[s->at].crl_file, info);
    if (e != ERR_OK)
        return e;
    struct list swap = *old;
    *old = s->fresh;
    s->fresh = swap;
    s->written_at[s->at] = now;
    return ERR_OK;
}

/* The next local CA from `s->at` on; after the last one it is time to wait. */
static void go_on(struct crlsync *s);

static void done(struct job *j, enum err e)
{
    struct crlsync *s = (struct crlsync *)j;
    struct err_info info = { "" };
    if (e != ERR_OK)
        log_error("%s", j->info.text);
    else if (write_list(s, &info) != ERR_OK)
        log_error("cannot write the revocation list of issuer %s: %s",
                  s->config->issuers[s->at].name, info.text);
    s->at++;
    go_on(s);
}

static void go_on(struct crlsync *s)
{
    while (s->at < s->config->n_issuers && !s->config->issuers[s->at].is_local)
        s->at++;
    if (s->at == s->config->n_issuers) {
        s->at = 0;
        loop_timer_set(s->timer, EVERY_MS);
        return;
    }
    s->job = (struct job){ .run = run, .done = done };
    jobs_submit(s->store, &s->job);
}

static void on_timer(void *arg)
{
    go_on(arg);
}

enum err crlsync_new(struct crlsync **out, struct loop *l, const struct config *config,
                     const struct issuers *issuers, struct jobs *store)
{
    struct crlsync *s = calloc(1, sizeof *s);
    if (s == NULL || loop_timer_new(&s->timer, l, on_timer, s) != ERR_OK) {
        free(s);
        return ERR_NOMEM;
    }
    s->config = config;
    s->issuers = issuers;
    s->store = store;
    if (config_local_issuer(config) != NULL)
        loop_timer_set(s->timer, 0);
    *out = s;
    return ERR_OK;
}

void crlsync_free(struct crlsync *s)
{
    if (s == NULL)
        return;
    loop_timer_free(s->timer);
    free(s->fresh.p);
    for (size_t i = 0; i < CONFIG_LIST_MAX; i++)
        free(s->written[i].p);
    free(s);
}
