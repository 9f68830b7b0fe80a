/* limits.c - lanyard-provisiond limits [reopen]: what is left of each CA's limits. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/admin/admin.h"
#include "provisiond/admin/forecast.h"
#include "provisiond/admin/jsonline.h"
#include "provisiond/headroom.h"
#include "provisiond/store/queue.h"

struct listing {
    const struct config *config;
    bool json;
    int64_t n;
};

static void print_json(const struct listing *l, const struct headroom *h)
{
    json_t *o = json_object();
    jsonline_text(o, "issuer", l->config->issuers[h->issuer].name);
    jsonline_text(o, "limit", bucket_kind_name(h->kind));
    jsonline_text(o, "zone", h->zone);
    (void)json_object_set_new(o, "account",
                              h->account > 0 ? json_integer((json_int_t)h->account) : json_null());
    jsonline_int(o, "count", h->limit.count);
    jsonline_int(o, "period_s", h->limit.period_s);
    (void)json_object_set_new(o, "left", h->left < 0 ? json_null() : json_integer(h->left));
    jsonline_int(o, "closed", h->n_closed);
    jsonline_time(o, "closed_until", h->closed_until);
    jsonline_print(o);
}

static void print_row(void *arg, const struct headroom *h)
{
    struct listing *l = arg;
    char left[24] = "-", limit[64] = "none", state[64] = "open", of[300];
    if (l->json) {
        print_json(l, h);
        return;
    }
    if (l->n++ == 0)
        (void)printf("%-20s %-9s %-24s %-8s %-14s %s\n", "ISSUER", "LIMIT", "ZONE", "LEFT", "OF",
                     "STATE");
    if (h->left >= 0)
        (void)snprintf(left, sizeof left, "%lld", (long long)h->left);
    if (h->limit.count > 0)
        (void)snprintf(limit, sizeof limit, "%lld/%llds", (long long)h->limit.count,
                       (long long)h->limit.period_s);
    if (h->closed_until > 0)
        clock_format(h->closed_until, state, sizeof state);
    else if (h->n_closed > 0)
        (void)snprintf(state, sizeof state, "%lld closed", (long long)h->n_closed);
    if (h->account > 0)
        (void)snprintf(of, sizeof of, "(account %zu)", h->account);
    else
        (void)snprintf(of, sizeof of, "%s",
                       h->kind == BUCKET_SET || h->kind == BUCKET_FAILURES ? "(each device)"
                                                                           : h->zone);
    (void)printf("%-20.20s %-9s %-24.24s %-8s %-14s %s\n", l->config->issuers[h->issuer].name,
                 bucket_kind_name(h->kind), of, left, limit, state);
}

/* --- reopen --- */

struct reopening {
    const struct admin *a;
    size_t issuer;
    enum bucket_kind kind;
    const char *zone, *device_id; /* "" where the limit is none of these */
    int64_t account;              /* 1.. */
    bool was_there;
    int64_t woken;
};

static const char *bucket_of(const struct reopening *r)
{
    if (r->kind == BUCKET_DOMAIN)
        return r->zone;
    if (r->kind == BUCKET_SET || r->kind == BUCKET_FAILURES)
        return r->device_id;
    return ledger_account_name((size_t)r->account - 1);
}

static enum err in_transaction(void *arg, struct sql *db, struct err_info *info)
{
    struct reopening *r = arg;
    const char *issuer = r->a->config->issuers[r->issuer].name;
    const struct ledger_key key = { issuer, r->kind, bucket_of(r) };
    enum err e = queue_reopen(db, &key, r->zone, r->device_id, clock_now_s(), &r->was_there,
                              &r->woken, info);
    if (e == ERR_OK && !r->was_there && r->woken == 0)
        e = err_set(info, ERR_NOTFOUND, "nothing of that limit is used up or closed");
    if (e != ERR_OK)
        return e;
    return admin_note(r->a, r->device_id, "limit-reopen", info, "%s %s%s%s%s%.8s", issuer,
                      bucket_kind_name(r->kind), r->zone[0] != 0 ? " of " : "", r->zone,
                      r->account > 1 ? " of account " : "",
                      r->account > 1 ? ledger_account_name((size_t)r->account - 1) : "");
}

static bool find_names(struct reopening *r, const char *issuer, const char *kind)
{
    const struct config *c = r->a->config;
    while (r->issuer < c->n_issuers && strcmp(c->issuers[r->issuer].name, issuer) != 0)
        r->issuer++;
    while (r->kind < BUCKET_KIND_N && strcmp(bucket_kind_name(r->kind), kind) != 0)
        r->kind = (enum bucket_kind)(r->kind + 1);
    return r->issuer < c->n_issuers && !c->issuers[r->issuer].is_local && r->kind < BUCKET_KIND_N;
}

/* Whether what was said goes with the kind of limit; a zone that is the only one need not be. */
static bool check_names(struct reopening *r)
{
    const struct config *c = r->a->config;
    const struct config_zone *z = config_zone_find(c, r->zone);
    bool of_device = r->kind == BUCKET_SET || r->kind == BUCKET_FAILURES;
    if (r->kind == BUCKET_DOMAIN && r->zone[0] == 0 && c->n_zones == 1)
        z = &c->zones[0];
    if ((r->kind == BUCKET_DOMAIN) != (z != NULL) || (r->zone[0] != 0 && z == NULL))
        return false;
    r->zone = z != NULL ? z->name : ""; /* as it is written down */
    return of_device == (r->device_id[0] != 0) &&
           r->account <= (int64_t)c->issuers[r->issuer].n_accounts;
}

static int reopen(const struct admin *a, int argc, char **argv)
{
    struct reopening r = { .a = a, .zone = "", .device_id = "", .account = 1 };
    struct err_info info = { "" };
    if (argc < 3 || !find_names(&r, argv[1], argv[2]))
        return admin_usage("limits reopen takes an acme issuer and all, orders, domain, set or "
                           "failures");
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--zone") == 0 && i + 1 < argc)
            r.zone = argv[++i];
        else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            r.device_id = argv[++i];
        else if (strcmp(argv[i], "--account") != 0 || i + 1 >= argc ||
                 !admin_number(argv[++i], &r.account))
            return admin_usage("limits reopen takes --zone, --device and --account");
    }
    if (!check_names(&r))
        return admin_usage("a limit of kind domain is of a --zone, set and failures of a --device, "
                           "the others of an --account");
    enum err e = sql_transact(a->db, in_transaction, &r, &info);
    if (e == ERR_OK)
        (void)printf("open; %lld orders go on within seconds\n", (long long)r.woken);
    return admin_end(e, &info);
}

int admin_limits(const struct admin *a, int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "reopen") == 0)
        return reopen(a, argc, argv);
    if (argc > 0 && strcmp(argv[0], "forecast") == 0)
        return forecast(a, argc, argv);
    struct listing l = { .config = a->config, .json = admin_take_json(&argc, argv) };
    struct err_info info = { "" };
    if (argc != 0)
        return admin_usage("limits takes --json, or reopen or forecast");
    enum err e = headroom_each(a->db, a->config, clock_now_s(), print_row, &l, &info);
    if (e == ERR_OK && l.n == 0 && !l.json)
        (void)puts("No issuer of this configuration has limits.");
    return admin_end(e, &info);
}
