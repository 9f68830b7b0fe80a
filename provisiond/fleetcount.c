#include "provisiond/fleetcount.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "provisiond/headroom.h"
#include "provisiond/store/current.h"
#include "provisiond/store/device.h"
#include "provisiond/store/jobs.h"
#include "provisiond/store/pairing.h"
#include "provisiond/store/seenmark.h"

#define EVERY_MS 60000
#define DAY_S 86400
#define LIMITS_MAX (CONFIG_LIST_MAX * (BUCKET_KIND_N + 2 * CONFIG_ACCOUNTS_MAX + CONFIG_LIST_MAX))
#define SHARE 20 /* at most a twentieth of the time is spent on counting */

struct limits {
    size_t n;
    struct headroom rows[LIMITS_MAX];
};

struct fleetcount {
    struct job job; /* first */
    struct loop_timer *timer;
    struct sql *db;
    struct jobs *thread;
    const struct config *config;
    struct census fresh, last;
    struct limits fresh_limits, last_limits;
    int64_t fresh_guessed, last_guessed; /* units of today's PAIRING_BUDGET */
    int64_t fresh_late_s, last_late_s;   /* questions about windows */
    enum err noted;                      /* of how far the store is */
    struct err_info note_info;
    int64_t warned_day;                    /* on which it was said that they run out */
    int64_t began_ms, took_ms, counted_at; /* the last: Unix seconds, 0 before the first */
};

static void add_limit(void *arg, const struct headroom *h)
{
    struct limits *l = arg;
    if (l->n < LIMITS_MAX)
        l->rows[l->n++] = *h;
}

/* How long the question that waits longest is overdue now. Those to issuers that are no longer
 * configured are never asked. */
static enum err lateness(const struct fleetcount *f, struct sql *db, int64_t *late_s,
                         struct err_info *info)
{
    int64_t now = clock_now_s(), due_at = 0;
    enum err e = ERR_OK;
    *late_s = 0;
    for (size_t i = 0; i < f->config->n_issuers && e == ERR_OK; i++) {
        e = current_poll_due(db, f->config->issuers[i].name, &due_at, info);
        if (e == ERR_OK && due_at > 0 && now - due_at > *late_s)
            *late_s = now - due_at;
    }
    return e;
}

static enum err run(struct job *j, void *ctx)
{
    struct fleetcount *f = (struct fleetcount *)j;
    f->fresh_limits.n = 0;
    enum err e =
        headroom_each(ctx, f->config, clock_now_s(), add_limit, &f->fresh_limits, &j->info);
    if (e == ERR_OK)
        e = pairing_spent(ctx, clock_now_s(), &f->fresh_guessed, &j->info);
    if (e == ERR_OK)
        e = lateness(f, ctx, &f->fresh_late_s, &j->info);
    if (e == ERR_OK)
        e = census_take(ctx, clock_now_s(), &f->fresh, &j->info);
    /* here, as this connection sees only what is committed, and nobody waits for the file */
    f->noted = seenmark_note(ctx, f->config->store, &f->note_info);
    return e;
}

/* Once a day, while there is time to do something. */
static void warn_of_guessing(struct fleetcount *f)
{
    int64_t day = clock_now_s() / DAY_S;
    if (f->last_guessed < PAIRING_BUDGET / 2 || f->warned_day == day)
        return;
    f->warned_day = day;
    log_warn("wrong pairing codes have used up %" PRId64
             " %% of what a day has for them: at 100 %% "
             "nobody can pair until midnight UTC",
             f->last_guessed * 100 / PAIRING_BUDGET);
}

static void done(struct job *j, enum err e)
{
    struct fleetcount *f = (struct fleetcount *)j;
    f->took_ms = clock_mono_ms() - f->began_ms;
    if (e == ERR_OK) {
        f->last = f->fresh;
        f->last_limits = f->fresh_limits;
        f->last_guessed = f->fresh_guessed;
        f->last_late_s = f->fresh_late_s;
        f->counted_at = clock_now_s();
        warn_of_guessing(f);
    } else {
        log_warn("the fleet could not be counted: %s", j->info.text);
    }
    if (f->noted != ERR_OK)
        log_warn("a restore of the store would not be noticed: %s", f->note_info.text);
    loop_timer_set(f->timer, f->took_ms * SHARE > EVERY_MS ? f->took_ms * SHARE : EVERY_MS);
}

static void on_timer(void *arg)
{
    struct fleetcount *f = arg;
    f->began_ms = clock_mono_ms();
    jobs_submit(f->thread, &f->job);
}

enum err fleetcount_new(struct fleetcount **out, struct loop *l, const struct config *config,
                        struct err_info *info)
{
    struct fleetcount *f = calloc(1, sizeof *f);
    if (f == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    f->job = (struct job){ .run = run, .done = done };
    f->config = config;
    enum err e = sql_open(&f->db, config->store, info);
    if (e == ERR_OK)
        e = loop_timer_new(&f->timer, l, on_timer, f);
    if (e == ERR_OK)
        e = jobs_new(&f->thread, l, NULL, f->db); /* no transaction: it only reads */
    if (e != ERR_OK) {
        fleetcount_free(f);
        return e;
    }
    on_timer(f);
    *out = f;
    return ERR_OK;
}

void fleetcount_free(struct fleetcount *f)
{
    if (f == NULL)
        return;
    jobs_free(f->thread);
    loop_timer_free(f->timer);
    sql_close(f->db);
    free(f);
}

const struct census *fleetcount_last(const struct fleetcount *f)
{
    return &f->last;
}

static void put_one(struct buf *out, const char *name, const char *help, uint64_t value)
{
    metric_put_head(out, name, "gauge", help);
    metric_put(out, name, NULL, 0, value);
}

/* A histogram by hand: its classes are days, and an expired certificate is in all of them. */
static void put_days(const struct census *c, struct buf *out)
{
    static const int64_t DAYS[CENSUS_DAYS_N - 1] = CENSUS_DAYS;
    static const char NAME[] = "lanyard_provisiond_certificate_days_left";
    uint64_t n = 0;
    metric_put_head(out, NAME, "gauge",
                    "Active devices whose newest certificate ends in fewer days than le says; le 0 "
                    "has expired.");
    for (unsigned i = 0; i < CENSUS_DAYS_N; i++) {
        char le[24] = "+Inf";
        n += c->days[i];
        if (i < CENSUS_DAYS_N - 1)
            (void)snprintf(le, sizeof le, "%" PRId64, DAYS[i]);
        const struct metric_label label = { "le", le };
        metric_put(out, NAME, &label, 1, n);
    }
}

static void put_limit(const struct fleetcount *f, struct buf *out, const char *name,
                      const struct headroom *h, int64_t value)
{
    char account[16];
    (void)snprintf(account, sizeof account, "%zu", h->account);
    const struct metric_label labels[] = { { "issuer", f->config->issuers[h->issuer].name },
                                           { "limit", bucket_kind_name(h->kind) },
                                           { "zone", h->zone },
                                           { "account", account } };
    size_t n = h->account > 0 ? ARRAY_LEN(labels) : ARRAY_LEN(labels) - 1;
    metric_put(out, name, labels, n, (uint64_t)value);
}

static void put_limits(const struct fleetcount *f, struct buf *out)
{
    static const char LEFT[] = "lanyard_provisiond_limit_left";
    static const char CLOSED[] = "lanyard_provisiond_limits_closed";
    static const char UNTIL[] = "lanyard_provisiond_limit_closed_until_seconds";
    const struct limits *l = &f->last_limits;
    metric_put_head(out, LEFT, "gauge", "What is left of each limit of a CA.");
    for (size_t i = 0; i < l->n; i++) {
        if (l->rows[i].left >= 0)
            put_limit(f, out, LEFT, &l->rows[i], l->rows[i].left);
    }
    metric_put_head(out, CLOSED, "gauge",
                    "Limits that let nothing through: used up, or closed by the CA. Those of each "
                    "device are counted.");
    for (size_t i = 0; i < l->n; i++)
        put_limit(f, out, CLOSED, &l->rows[i], l->rows[i].n_closed);
    metric_put_head(out, UNTIL, "gauge",
                    "When a limit lets something through again, Unix time; 0 when it does.");
    for (size_t i = 0; i < l->n; i++)
        put_limit(f, out, UNTIL, &l->rows[i], l->rows[i].closed_until);
}

static void put_schedule(const struct fleetcount *f, struct buf *out)
{
    const struct census *c = &f->last;
    metric_put_head(out, "lanyard_provisiond_orders_open_by_lane", "gauge",
                    "Orders that are not final, by lane, of all nodes.");
    for (unsigned i = 0; i < LANE_N; i++) {
        const struct metric_label label = { "lane", lane_name((enum lane)i) };
        metric_put(out, "lanyard_provisiond_orders_open_by_lane", &label, 1, c->lanes[i]);
    }
    put_one(
        out, "lanyard_provisiond_renewal_windows_missed",
        "Active devices whose certificate is in use after the renewal window that its CA named.",
        c->windows_missed);
    put_one(out, "lanyard_provisiond_renewal_poll_late_seconds",
            "How long the question about a renewal window that waits longest was overdue.",
            (uint64_t)f->last_late_s);
}

void fleetcount_write(const struct fleetcount *f, struct buf *out)
{
    const struct census *c = &f->last;
    put_one(out, "lanyard_provisiond_counted_time_seconds",
            "When the fleet was counted for the numbers below, Unix time; 0 before the first.",
            (uint64_t)f->counted_at);
    metric_put_head(out, "lanyard_provisiond_devices", "gauge", "Devices by state.");
    for (unsigned i = 0; i < ARRAY_LEN(c->devices); i++) {
        const struct metric_label label = { "state", device_state_name((enum device_state)i) };
        metric_put(out, "lanyard_provisiond_devices", &label, 1, c->devices[i]);
    }
    put_one(out, "lanyard_provisiond_devices_reporting",
            "Devices that reported within twice the time that they are told.", c->reporting);
    put_one(out, "lanyard_provisiond_pairing_budget_left",
            "What is left today for wrong pairing codes, of all nodes; pairing rests at 0.",
            f->last_guessed < PAIRING_BUDGET ? (uint64_t)(PAIRING_BUDGET - f->last_guessed) : 0);
    metric_put_head(out, "lanyard_provisiond_orders_open", "gauge",
                    "Orders that are not final, by state, of all nodes.");
    for (unsigned i = ORDER_ILLEGAL + 1; i < ORDER_STATE_N; i++) {
        const struct metric_label label = { "state", order_state_name((enum order_state)i) };
        if (!order_is_final((enum order_state)i))
            metric_put(out, "lanyard_provisiond_orders_open", &label, 1, c->orders[i]);
    }
    put_days(c, out);
    put_one(out, "lanyard_provisiond_certificates_at_risk",
            "Certificates in service with less than a sixth of their lifetime left.", c->at_risk);
    put_schedule(f, out);
    put_limits(f, out);
}
