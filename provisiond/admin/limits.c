/* limits.c - lanyard-provisiond limits: what is left of each CA's limits. */
#include <stdio.h>

#include "common/base/clock.h"
#include "provisiond/admin/admin.h"
#include "provisiond/admin/jsonline.h"
#include "provisiond/headroom.h"

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
    char left[24] = "-", limit[64] = "none", state[64] = "open";
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
    (void)printf("%-20.20s %-9s %-24.24s %-8s %-14s %s\n", l->config->issuers[h->issuer].name,
                 bucket_kind_name(h->kind),
                 h->kind == BUCKET_SET || h->kind == BUCKET_FAILURES ? "(each device)" : h->zone,
                 left, limit, state);
}

int admin_limits(const struct admin *a, int argc, char **argv)
{
    struct listing l = { .config = a->config, .json = admin_take_json(&argc, argv) };
    struct err_info info = { "" };
    if (argc != 0)
        return admin_usage("limits takes --json only");
    enum err e = headroom_each(a->db, a->config, clock_now_s(), print_row, &l, &info);
    if (e == ERR_OK && l.n == 0 && !l.json)
        (void)puts("No issuer of this configuration has limits.");
    return admin_end(e, &info);
}
