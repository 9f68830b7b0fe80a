#include "provisiond/claim.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/store/current.h"
#include "provisiond/store/ledger.h"
#include "provisiond/store/node.h"

#define UPKEEP_MAX 1000 /* rows that each statement of the upkeep changes */

static void add_row(void *arg, const struct order_row *row)
{
    struct claim *c = arg;
    c->rows[c->n_rows++] = *row;
}

/* Takes what is overdue in one zone at one CA to the next one that the zone names, in a circle. */
static enum err fail_over(struct claim *c, struct sql *db, const struct config_zone *z, size_t at,
                          int64_t now_s, struct err_info *info)
{
    const struct config *cfg = c->config;
    const char *from = cfg->issuers[z->issuers[at]].name;
    const char *to =
        z->n_issuers > 1 ? cfg->issuers[z->issuers[(at + 1) % z->n_issuers]].name : NULL;
    int64_t moved = 0, moved_new = 0;
    enum err e =
        queue_failover(db, from, to, z->name, now_s, CLAIM_FAILOVER_S, UPKEEP_MAX, &moved, info);
    if (e == ERR_OK && to != NULL && c->away[z->issuers[at]])
        e = queue_failover_new(db, from, to, z->name, now_s - CLAIM_FAILOVER_S, UPKEEP_MAX,
                               &moved_new, info);
    if (e == ERR_OK && moved + moved_new > 0)
        log_warn("%lld orders of %s at %s are overdue: %s%s", (long long)(moved + moved_new),
                 z->name, from, to != NULL ? "they go to " : "they go first", to != NULL ? to : "");
    return e;
}

static enum err keep_up(struct claim *c, struct sql *db, int64_t now_s, struct err_info *info)
{
    const struct config *cfg = c->config;
    enum err e = ledger_prune(db, now_s * 1000000, UPKEEP_MAX, info);
    for (size_t i = 0; i < cfg->n_zones; i++) {
        for (size_t k = 0; k < cfg->zones[i].n_issuers && e == ERR_OK; k++)
            e = fail_over(c, db, &cfg->zones[i], k, now_s, info);
    }
    return e;
}

/* Orders at issuers that have left the configuration. Those of a node that still ran with the older
 * one come free only when it is dead, or their leases end. */
static enum err adopt(struct claim *c, struct sql *db, int64_t now_s, struct err_info *info)
{
    const struct config *cfg = c->config;
    enum err e = ERR_OK;
    for (size_t i = 0; i < cfg->n_zones && e == ERR_OK; i++) {
        const struct config_zone *z = &cfg->zones[i];
        const char *names[CONFIG_LIST_MAX];
        int64_t moved = 0;
        for (size_t k = 0; k < z->n_issuers; k++)
            names[k] = cfg->issuers[z->issuers[k]].name;
        if (z->n_issuers > 0)
            e = queue_adopt(db, z->name, names, z->n_issuers, now_s, &moved, info);
        if (e == ERR_OK && moved > 0)
            log_warn("%lld orders of %s were at issuers that it does not name: they begin anew"
                     " at %s",
                     (long long)moved, z->name, names[0]);
    }
    return e;
}

/* Waits that were reckoned by a clock that was ahead. */
static enum err clock_back(struct claim *c, struct sql *db, int64_t now_s, struct err_info *info)
{
    enum err e = order_clock_back(db, now_s, c->lease.until, info);
    for (size_t i = 0; i < c->n_issuers && e == ERR_OK; i++) {
        e = ledger_clock_back(db, c->issuers[i].name, c->issuers[i].limit, now_s * 1000000, info);
        if (e == ERR_OK)
            e = current_clock_back(db, c->issuers[i].name, now_s, info);
    }
    return e;
}

static enum err run_claim(struct job *j, void *ctx)
{
    struct claim *c = (struct claim *)j;
    int64_t now = clock_now_s(), n_released = 0;
    enum err e = ERR_OK;
    c->n_rows = 0;
    c->lease.until = now + CLAIM_LEASE_S;
    if (c->clock_went_back)
        e = clock_back(c, ctx, now, &j->info);
    if (e == ERR_OK && c->look_for_dead)
        e = node_release_dead(ctx, now - CLAIM_NODE_DEAD_S, &n_released, &j->info);
    if (e == ERR_OK && (c->adopt || n_released > 0))
        e = adopt(c, ctx, now, &j->info);
    if (e == ERR_OK && (c->unsure || j->again))
        e = queue_claimed(ctx, &c->lease, QUEUE_CLAIM_MAX, add_row, c, &j->info);
    if (e == ERR_OK && c->upkeep)
        e = keep_up(c, ctx, now, &j->info);
    if (e == ERR_OK && c->n_rows == 0)
        e = queue_claim(ctx, c->issuers, c->n_issuers, now, &c->lease, QUEUE_CLAIM_MAX, add_row, c,
                        &c->next_at, &j->info);
    return e;
}

struct claim *claim_new(const struct config *config)
{
    struct claim *c = calloc(1, sizeof *c);
    if (c == NULL || (c->rows = malloc(QUEUE_CLAIM_MAX * sizeof *c->rows)) == NULL) {
        claim_free(c);
        return NULL;
    }
    c->config = config;
    c->job.run = run_claim;
    return c;
}

void claim_free(struct claim *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->n_issuers; i++) {
        for (size_t k = 0; k < LEDGER_ACCOUNTS_MAX; k++)
            free(c->issuers[i].account[k]);
    }
    free(c->rows);
    free(c);
}
