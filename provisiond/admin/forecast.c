/* forecast.c - lanyard-provisiond limits forecast: how many renewals the coming days bring, against
 * what the limit for orders lets through. */
#include "provisiond/admin/forecast.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/admin/jsonline.h"
#include "provisiond/store/current.h"

#define DAYS_DEFAULT 14
#define DAYS_MAX 90
#define DAY_S INT64_C(86400)

struct forecast {
    const struct config_issuer *issuer;
    int64_t now_s, room; /* orders of a day; -1: renewals are not counted, or there is no limit */
    bool json;
    int64_t n_rows;
};

static void print_day(void *arg, int64_t day, int64_t n)
{
    struct forecast *f = arg;
    char date[CLOCK_TEXT_MAX], room[32] = "-";
    clock_format(f->now_s + day * DAY_S, date, sizeof date);
    date[strcspn(date, "T ")] = 0;
    if (f->json) {
        json_t *o = json_object();
        jsonline_text(o, "issuer", f->issuer->name);
        jsonline_text(o, "day", date);
        jsonline_int(o, "renewals", n);
        (void)json_object_set_new(o, "let_through",
                                  f->room < 0 ? json_null() : json_integer(f->room));
        jsonline_print(o);
        return;
    }
    if (f->n_rows++ == 0)
        (void)printf("%-20s %-12s %-10s %s\n", "ISSUER", "FROM", "RENEWALS", "LET THROUGH");
    if (f->room >= 0)
        (void)snprintf(room, sizeof room, "%lld%s", (long long)f->room,
                       n > f->room ? "  too few" : "");
    (void)printf("%-20.20s %-12s %-10lld %s\n", f->issuer->name, date, (long long)n, room);
}

static int64_t room_of(const struct config_issuer *is)
{
    struct bucket_limit limit = is->limit[BUCKET_ORDERS];
    if (is->renewals_exempt || limit.count == 0)
        return -1;
    return limit.count * (int64_t)is->n_accounts * DAY_S / limit.period_s;
}

int forecast(const struct admin *a, int argc, char **argv)
{
    struct forecast f = { .now_s = clock_now_s(), .json = admin_take_json(&argc, argv) };
    struct err_info info = { "" };
    int64_t days = DAYS_DEFAULT;
    if (argc != 1 && (argc != 3 || strcmp(argv[1], "--days") != 0 ||
                      !admin_number(argv[2], &days) || days > DAYS_MAX))
        return admin_usage("limits forecast takes --days 1 to %d and --json", DAYS_MAX);
    enum err e = ERR_OK;
    for (size_t i = 0; i < a->config->n_issuers && e == ERR_OK; i++) {
        f.issuer = &a->config->issuers[i];
        f.room = room_of(f.issuer);
        if (!f.issuer->is_local)
            e = current_forecast(a->db, f.issuer->name, f.now_s, days,
                                 f.now_s - a->config->active_days * DAY_S, print_day, &f, &info);
    }
    if (e == ERR_OK && f.n_rows == 0 && !f.json)
        (void)puts("No renewal is due in that time.");
    return admin_end(e, &info);
}
