#include "tests/sim/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provisiond/store/certificate.h"
#include "provisiond/store/current.h"
#include "provisiond/store/ledger.h"

#define FAILOVER_PERCENT 25
#define ACTIVE_S ((int64_t)30 * 86400)
#define ALARMED_PER_S 50 /* questions in an alarm: the product's limit */
#define UPKEEP_S 600     /* rarer than the product: it costs CPU time here */
#define LATENCY_S 10     /* of an order at the CA, and as much again by chance */
#define CHECK_S 21600

static const char *const ISSUERS[SERVICE_CA_MAX] = { "ca", "second" };
static const struct schedule_policy POLICY = { FAILOVER_PERCENT, true };

static void must(enum err e, const struct err_info *info)
{
    if (e == ERR_OK)
        return;
    (void)fprintf(stderr, "sim: %s\n", info->text);
    exit(1);
}

void service_init(struct service *s, struct sql *db, struct fleet *f, struct ca *cas,
                  unsigned n_cas)
{
    *s = (struct service){ .db = db, .fleet = f, .n_cas = n_cas };
    for (unsigned i = 0; i < n_cas; i++) {
        struct service_ca *c = &s->cas[i];
        c->ca = &cas[i];
        c->issuer =
            (struct queue_issuer){ .name = ISSUERS[i], .zones = { SERVICE_ZONE }, .n_zones = 1 };
        for (int k = 0; k < BUCKET_KIND_N; k++)
            c->issuer.limit[k] = bucket_limit_default((enum bucket_kind)k);
        c->issuer.limit[BUCKET_DOMAIN].count = cas[i].domain.count;
        gate_init(&c->gate, SERVICE_FLIGHT_MAX);
    }
}

static unsigned ca_of(const char *issuer)
{
    return strcmp(issuer, ISSUERS[0]) == 0 ? 0 : 1;
}

/* --- devices --- */

static void device_row(struct service *s, uint32_t device, int64_t seen_at)
{
    struct err_info info;
    struct sql_query q;
    char id[DEVID_LEN + 1];
    fleet_id(device, id);
    sql_begin(&q, s->db,
              "INSERT INTO device (id, zone, state, admitted_at, seen_at)"
              " VALUES ($1, $2, 'active', $3, $3) ON CONFLICT (id) DO UPDATE SET seen_at=$3");
    sql_bind_text(&q, 1, id);
    sql_bind_text(&q, 2, SERVICE_ZONE);
    sql_bind_int(&q, 3, seen_at);
    must(sql_end(&q, NULL, &info), &info);
    s->fleet->devices[device].enrolled = true;
}

/* What the store keeps of the certificate that the device has now. */
static void put_current(struct service *s, uint32_t device, int64_t order_id)
{
    struct err_info info;
    struct device *d = &s->fleet->devices[device];
    struct current_row row = { .order_id = order_id, .zone = SERVICE_ZONE, .account = "account" };
    row.renewal.not_before = d->names.not_before;
    row.renewal.not_after = d->names.not_after;
    fleet_id(device, row.device_id);
    (void)snprintf(row.issuer, sizeof row.issuer, "%s", ISSUERS[d->at]);
    (void)snprintf(row.ari_id, sizeof row.ari_id, "%u.%lld", device,
                   (long long)d->names.not_before);
    uint64_t seed = renewal_seed(row.device_id, row.ari_id);
    row.sentinel = renewal_is_sentinel(seed);
    renewal_begin(&row.renewal, true, seed, s->now_s);
    must(current_put(s->db, &row, &info), &info);
    d->chosen_at = row.renewal.chosen_at;
    d->window_start = d->window_end = 0;
    fleet_plan(s->fleet, device, d->chosen_at);
}

void service_seed(struct service *s, uint32_t device, int64_t not_before, int64_t now_s)
{
    struct device *d = &s->fleet->devices[device];
    s->now_s = now_s;
    ca_names_init(&d->names);
    d->names.not_before = d->names.issued_at = not_before;
    d->names.not_after = not_before + s->cas[0].ca->life_s;
    device_row(s, device, now_s);
    put_current(s, device, 0);
}

/* Sends a new CSR, with a key as new. */
static void ask(struct service *s, uint32_t device)
{
    struct device *d = &s->fleet->devices[device];
    struct err_info info = { "" };
    struct order_row row = { .zone = SERVICE_ZONE };
    const uint8_t csr[32] = { 0 };
    enum order_submit out;
    uint64_t key[2] = { (uint64_t)device * 0x9e3779b97f4a7c15u, ++d->n_asked };
    if (!d->enrolled)
        ca_names_init(&d->names);
    device_row(s, device, s->now_s);
    fleet_id(device, row.device_id);
    (void)snprintf(row.issuer, sizeof row.issuer, "%s", ISSUERS[0]);
    memcpy(row.csr_sha256, key, sizeof key);
    memcpy(row.spki_sha256, key, sizeof key);
    row.spki_sha256[31] = 1;
    must(order_submit(s->db, &row, &(struct order_csr){ .der = { csr, sizeof csr } }, 20, &POLICY,
                      s->now_s, &out, &info),
         &info);
    d->waiting = out == ORDER_SUBMIT_QUEUED;
    if (!d->waiting)
        fleet_plan(s->fleet, device, s->now_s + 3600);
}

static void act(struct service *s, uint32_t device)
{
    struct device *d = &s->fleet->devices[device];
    if (d->waiting)
        return;
    if (device_is_off(d, s->now_s))
        fleet_plan(s->fleet, device, d->off_until + fleet_random(s->fleet, 600));
    else if (d->names.not_after > s->now_s && d->chosen_at > s->now_s + 60)
        fleet_plan(s->fleet, device, d->chosen_at);
    else
        ask(s, device);
}

/* --- orders --- */

static void save(struct service *s, struct order_row *row, enum order_state state, int64_t due_at,
                 int64_t lease_until)
{
    struct err_info info;
    row->state = state;
    row->due_at = due_at;
    must(order_save(s->db, row, lease_until, s->now_s, &info), &info);
}

/* Counts the certificate that is being replaced, as the device saw it. */
static void count_renewal(struct service *s, const struct device *d, int64_t begun_at)
{
    int64_t ended = d->names.not_after;
    if (d->names.revoked_at != 0) {
        int64_t hours = (s->now_s - s->revoked_at) / 3600;
        s->replaced++;
        s->returned[hours < 47 ? hours : 47]++;
        return;
    }
    if (ended <= s->now_s && d->off_until <= ended - 86400)
        s->expired_in_service++;
    else if (ended <= s->now_s)
        s->expired_off++;
    if (d->window_end == 0)
        return;
    if (begun_at >= d->window_start && begun_at < d->window_end)
        s->in_window++;
    else if (d->off_until > d->window_start)
        s->late++; /* it was without power */
    else if (s->cas[0].ca->away_until > d->window_start && s->cas[0].ca->away_from < d->window_end)
        s->missed_away++;
    else
        s->missed++;
}

static void end_flight(struct service *s, struct flight *f)
{
    struct err_info info;
    struct device *d = &s->fleet->devices[f->device];
    struct order_row row = { .id = f->order_id, .fence = f->fence, .zone = SERVICE_ZONE };
    struct certificate_row cert = { .order_id = f->order_id, .issued_at = s->now_s };
    fleet_id(f->device, row.device_id);
    (void)snprintf(row.issuer, sizeof row.issuer, "%s", ISSUERS[f->at]);
    row.paid = f->paid;
    if (d->names.issued_at != 0)
        count_renewal(s, d, f->done_at - LATENCY_S);
    s->renewed += d->names.issued_at != 0;
    s->first += d->names.issued_at == 0;
    s->issued++;
    if (d->at != f->at)
        ca_names_init(&d->names); /* to this CA the names are new */
    d->at = f->at;
    s->by_second += f->at != 0;
    ca_issue(s->cas[f->at].ca, &d->names, s->now_s);
    cert.not_before = d->names.not_before;
    cert.not_after = d->names.not_after;
    (void)snprintf(cert.serial, sizeof cert.serial, "%u%lld", f->device, (long long)s->now_s);
    must(certificate_insert(s->db, &row, &cert, "chain", &info), &info);
    save(s, &row, ORDER_VALID, s->now_s, 0);
    d->waiting = false;
    d->was_revoked = false;
    put_current(s, f->device, f->order_id);
    gate_note(&s->cas[f->at].gate, GATE_OK, s->now_s * 1000, 0, 0);
    gate_end(&s->cas[f->at].gate);
}

static void end_flights(struct service *s)
{
    for (size_t i = 0; i < s->n_flights;) {
        if (s->flights[i].done_at > s->now_s) {
            i++;
            continue;
        }
        end_flight(s, &s->flights[i]);
        s->flights[i] = s->flights[--s->n_flights];
    }
}

static void refused(struct service *s, struct service_ca *c, struct order_row *row,
                    enum ca_answer answer)
{
    struct err_info info;
    uint32_t random = (uint32_t)fleet_random(s->fleet, 1 << 30);
    must(queue_refund(s->db, row, c->issuer.limit, (int)row->paid, &info), &info);
    row->paid = 0;
    if (answer == CA_LIMITED)
        must(queue_park(s->db, row, BUCKET_ALL, c->issuer.limit, s->now_s + 3600, &info), &info);
    gate_note(&c->gate, answer == CA_LIMITED ? GATE_OK : GATE_AWAY, s->now_s * 1000,
              answer == CA_BUSY ? 60 : 0, random);
    gate_end(&c->gate);
    save(s, row, ORDER_QUEUED, s->now_s + 60 + random % 60, 0);
}

static void on_claimed(void *arg, const struct order_row *claimed)
{
    struct service *s = arg;
    struct order_row row = *claimed;
    uint32_t device = fleet_device(row.device_id);
    struct device *d = &s->fleet->devices[device];
    unsigned at = ca_of(row.issuer);
    struct service_ca *c = &s->cas[at];
    struct ca_names unknown;
    ca_names_init(&unknown);
    gate_begin(&c->gate, s->now_s * 1000);
    enum ca_answer answer =
        ca_order(c->ca, at == d->at ? &d->names : &unknown,
                 row.replaces[0] != 0 && s->now_s < row.replaces_until, s->now_s);
    if (answer != CA_OK) {
        refused(s, c, &row, answer);
        return;
    }
    if (d->names.not_after > s->now_s && s->now_s - row.due_at > s->longest_wait_s)
        s->longest_wait_s = s->now_s - row.due_at;
    s->flights[s->n_flights++] = (struct flight){
        row.id,   row.fence, s->now_s + LATENCY_S + fleet_random(s->fleet, LATENCY_S),
        row.paid, device,    at
    };
    if ((int64_t)s->n_flights > s->most_in_flight)
        s->most_in_flight = (int64_t)s->n_flights;
}

static bool claim_some(struct service *s, struct service_ca *c)
{
    struct err_info info;
    struct order_lease lease = { "sim", s->now_s, s->now_s + 900 };
    int64_t next_at, room = gate_room(&c->gate, s->now_s * 1000);
    int64_t places = (int64_t)(SERVICE_FLIGHT_MAX - s->n_flights);
    room = room < places ? room : places;
    c->issuer.room = room;
    if (room > 0)
        must(queue_claim(s->db, &c->issuer, 1, s->now_s, &lease, QUEUE_CLAIM_MAX, on_claimed, s,
                         &next_at, &info),
             &info);
    return room - c->issuer.room == QUEUE_CLAIM_MAX;
}

static void claim(struct service *s)
{
    for (unsigned i = 0; i < s->n_cas; i++) {
        while (claim_some(s, &s->cas[i]))
            ; /* there are more */
    }
}

/* --- windows --- */

static void on_due(void *arg, const struct current_row *due)
{
    struct service *s = arg;
    struct err_info info;
    struct current_row row = *due;
    uint32_t device = fleet_device(row.device_id);
    struct device *d = &s->fleet->devices[device];
    struct renewal_answer a = { .outcome = RENEWAL_WINDOW, .retry_after_s = CHECK_S };
    uint64_t seed = renewal_seed(row.device_id, row.ari_id);
    struct ca *ca = s->cas[ca_of(row.issuer)].ca;
    if (ca_window(ca, &d->names, s->now_s, &a.start, &a.end) != CA_OK)
        a.outcome = RENEWAL_TEMPORARY;
    bool moved = renewal_take(&row.renewal, &a, seed, s->now_s);
    must(current_save(s->db, &row, &info), &info);
    int64_t hour = row.renewal.not_before / COHORT_S * COHORT_S;
    if (moved && cohort_alarm(&s->alarms, row.renewal.not_before, s->now_s)) {
        s->alarmed_until = s->now_s + 2 * 3600;
        must(
            current_alarm(s->db, row.issuer, hour - COHORT_S, hour + 2 * COHORT_S, s->now_s, &info),
            &info);
    }
    if (row.renewal.window_end == d->window_end || d->waiting)
        return;
    enum renewal_why why;
    d->window_start = row.renewal.window_start;
    d->window_end = row.renewal.window_end;
    d->chosen_at = renewal_at(&row.renewal, FAILOVER_PERCENT, s->now_s, &why);
    /* the device hears of it when it next asks */
    int64_t hears_at = s->now_s + fleet_random(s->fleet, renewal_check_in_s(&row.renewal, seed));
    fleet_plan(s->fleet, device, d->chosen_at > hears_at ? d->chosen_at : hears_at);
}

static int64_t n_windows(const struct service *s)
{
    int64_t n = 0;
    for (unsigned i = 0; i < s->n_cas; i++)
        n += s->cas[i].ca->n_windows;
    return n;
}

static void ask_windows(struct service *s, int64_t step_s)
{
    struct err_info info;
    double rate = s->now_s < s->alarmed_until ? ALARMED_PER_S : s->windows_per_s;
    s->window_credit += rate * (double)step_s;
    while (s->window_credit >= 1) {
        int64_t before = n_windows(s);
        int64_t n = s->window_credit < 1000 ? (int64_t)s->window_credit : 1000;
        for (unsigned i = 0; i < s->n_cas; i++)
            must(current_claim(s->db, ISSUERS[i], s->now_s, s->now_s + 600, s->now_s - ACTIVE_S, n,
                               on_due, s, &info),
                 &info);
        s->window_credit -= (double)n;
        if (n_windows(s) - before < n)
            s->window_credit = 0;
    }
}

/* --- the whole --- */

static void keep_up(struct service *s)
{
    struct err_info info;
    int64_t moved = 0;
    if (s->now_s < s->upkeep_at)
        return;
    s->upkeep_at = s->now_s + UPKEEP_S;
    must(ledger_prune(s->db, s->now_s * 1000000, 1000, &info), &info);
    for (unsigned i = 0; i < s->n_cas; i++) {
        const char *next = s->n_cas > 1 ? ISSUERS[(i + 1) % s->n_cas] : NULL;
        must(queue_failover(s->db, ISSUERS[i], next, SERVICE_ZONE, s->now_s, 3600, 1000, &moved,
                            &info),
             &info);
        s->failed_over += moved;
    }
}

void service_run(struct service *s, int64_t now_s, int64_t step_s)
{
    uint32_t device;
    s->now_s = now_s;
    while ((device = fleet_next(s->fleet, now_s)) != FLEET_NONE)
        act(s, device);
    end_flights(s);
    keep_up(s);
    claim(s);
    ask_windows(s, step_s);
}
