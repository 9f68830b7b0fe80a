#include "provisiond/headroom.h"

#include "provisiond/store/ledger.h"

#define US 1000000

struct walk {
    struct sql *db;
    const struct config *config;
    int64_t now_s;
    void (*fn)(void *arg, const struct headroom *h);
    void *arg;
    struct err_info *info;
};

/* The account's bucket, or a zone's. */
static enum err one(const struct walk *w, struct headroom *h)
{
    const char *issuer = w->config->issuers[h->issuer].name;
    const struct ledger_key key = { issuer, h->kind,
                                    h->account > 0 ? ledger_account_name(h->account - 1)
                                                   : h->zone };
    int64_t tat_us = 0;
    enum err e = ledger_get(w->db, &key, &tat_us, w->info);
    if (e != ERR_OK)
        return e;
    int64_t wait_us = bucket_wait_us(tat_us, h->limit, 0, w->now_s * US);
    h->left = bucket_level(tat_us, h->limit, w->now_s * US);
    h->n_closed = wait_us > 0;
    h->closed_until = wait_us > 0 ? w->now_s + (wait_us + US - 1) / US : 0;
    w->fn(w->arg, h);
    return ERR_OK;
}

/* Those of all devices, of which there may be very many. */
static enum err of_devices(const struct walk *w, struct headroom *h)
{
    h->left = -1;
    enum err e = ledger_count_closed(w->db, w->config->issuers[h->issuer].name, h->kind, h->limit,
                                     w->now_s * US, &h->n_closed, w->info);
    if (e == ERR_OK)
        w->fn(w->arg, h);
    return e;
}

static enum err of_accounts(const struct walk *w, const struct headroom *h)
{
    size_t n = w->config->issuers[h->issuer].n_accounts;
    enum err e = ERR_OK;
    for (size_t k = 0; k < n && e == ERR_OK; k++) {
        struct headroom own = *h;
        own.account = n > 1 ? k + 1 : 0;
        e = one(w, &own);
    }
    return e;
}

static bool zone_uses(const struct config_zone *z, size_t issuer)
{
    for (size_t i = 0; i < z->n_issuers; i++) {
        if (z->issuers[i] == issuer)
            return true;
    }
    return false;
}

static enum err of_zones(const struct walk *w, const struct headroom *h)
{
    enum err e = ERR_OK;
    for (size_t z = 0; z < w->config->n_zones && e == ERR_OK; z++) {
        struct headroom own = *h;
        own.zone = w->config->zones[z].name;
        if (zone_uses(&w->config->zones[z], h->issuer))
            e = one(w, &own);
    }
    return e;
}

enum err headroom_each(struct sql *db, const struct config *c, int64_t now_s,
                       void (*fn)(void *arg, const struct headroom *h), void *arg,
                       struct err_info *info)
{
    const struct walk w = { db, c, now_s, fn, arg, info };
    enum err e = ERR_OK;
    for (size_t i = 0; i < c->n_issuers; i++) {
        for (unsigned k = 0; k < BUCKET_KIND_N && e == ERR_OK && !c->issuers[i].is_local; k++) {
            struct headroom h = { .issuer = i,
                                  .kind = (enum bucket_kind)k,
                                  .zone = "",
                                  .limit = c->issuers[i].limit[k] };
            if (k == BUCKET_DOMAIN)
                e = of_zones(&w, &h);
            else if (k == BUCKET_SET || k == BUCKET_FAILURES)
                e = of_devices(&w, &h);
            else
                e = of_accounts(&w, &h);
        }
    }
    return e;
}
