/* lanyard_sim - a fleet over months in minutes: the real scheduler and store on virtual time, with
 * a modelled CA that counts as Boulder does. Fails when a certificate ended in service, or when the
 * CA had to refuse an order by a limit.
 *
 *     lanyard_sim [--devices N] [--days N] [--outage DAYS] [--issuers 1|2] [--db FILE]
 *
 * --outage says how long the first CA is away. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/service.h"

#define DAY ((int64_t)86400)
#define HOUR ((int64_t)3600)
#define START ((int64_t)1772409600) /* Monday 2 March 2026, 00:00 UTC */
#define LIFE_S (45 * DAY)
#define FIRST_RENEWAL_S (30 * DAY) /* of a fleet that has settled */

struct options {
    int64_t devices, days, outage, issuers;
    const char *db;
};

static struct options parse(int argc, char **argv)
{
    struct options o = { 20000, 90, 2, 1, NULL };
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--devices") == 0)
            o.devices = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--days") == 0)
            o.days = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--outage") == 0)
            o.outage = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--issuers") == 0)
            o.issuers = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--db") == 0)
            o.db = argv[i + 1];
        else
            o.devices = 0;
    }
    if (argc % 2 == 0 || o.devices < 1000 || o.devices > 20000000 || o.days < 1 || o.days > 3650 ||
        o.outage < 0 || o.outage > 3650 || o.issuers < 1 || o.issuers > SERVICE_CA_MAX) {
        (void)fprintf(stderr, "usage: lanyard_sim [--devices N] [--days N] [--outage DAYS]"
                              " [--issuers 1|2] [--db FILE]\n");
        exit(2);
    }
    return o;
}

static double cpu_s(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void open_db(struct sql **db, const char *path)
{
    struct err_info info;
    char url[4096];
    (void)snprintf(url, sizeof url, "sqlite:%s", path);
    enum err e = sql_open(db, url, &info);
    if (e == ERR_OK) /* a power cut of the simulator loses nothing of worth */
        e = sql_script(*db,
                       "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
                       "PRAGMA cache_size=-6000000; PRAGMA cache_spill=OFF",
                       &info);
    if (e != ERR_OK) {
        (void)fprintf(stderr, "%s\n", info.text);
        exit(1);
    }
}

/* --- the story --- */

/* The fleet as it stands on the first day, and who is still to come. */
static void settle_fleet(struct service *s, const struct options *o)
{
    struct fleet *f = s->fleet;
    struct err_info info;
    size_t later = f->capacity - (size_t)o->devices;
    if (sql_begin_tx(s->db, &info) != ERR_OK)
        exit(1);
    for (f->n = 0; f->n < (size_t)o->devices; f->n++)
        service_seed(s, (uint32_t)f->n, START - fleet_random(f, FIRST_RENEWAL_S), START);
    if (sql_commit(s->db, &info) != ERR_OK)
        exit(1);
    size_t herd = later / 40; /* sold on one weekend, switched on on Monday at nine */
    for (size_t i = 0; i < later; i++, f->n++) {
        int64_t at = i < herd ? START + 63 * DAY + 9 * HOUR + fleet_random(f, HOUR)
                              : START + fleet_random(f, o->days * DAY);
        fleet_plan(f, (uint32_t)f->n, at);
    }
    for (size_t i = 0; i < (size_t)o->devices; i++) {
        struct device *d = &f->devices[i];
        int64_t dice = fleet_random(f, 100);
        if (dice < 20) { /* off on Friday evening, back on Monday at eight */
            d->off_from = START + 59 * DAY - 6 * HOUR;
            d->off_until = START + 63 * DAY + 8 * HOUR + fleet_random(f, 600);
        } else if (dice < 25) { /* a long holiday, back on the same morning */
            d->off_from = START + 18 * DAY;
            d->off_until = START + 63 * DAY + 8 * HOUR + fleet_random(f, 600);
        }
    }
}

/* The CA revokes what it issued on three days. */
static void revoke_some(struct service *s, int64_t now_s)
{
    struct fleet *f = s->fleet;
    s->revoked_at = now_s;
    for (size_t i = 0; i < f->n; i++) {
        struct device *d = &f->devices[i];
        if (d->names.not_before < START + 38 * DAY || d->names.not_before >= START + 41 * DAY ||
            device_is_off(d, now_s))
            continue;
        d->names.revoked_at = now_s;
        d->was_revoked = true;
        s->n_revoked++;
    }
}

static void run(struct service *s, const struct options *o)
{
    struct err_info info;
    int64_t idle_s = o->devices < 100000 ? 300 : 60;
    int64_t end = START + o->days * DAY, step_s = idle_s;
    bool revoked = false;
    if (sql_begin_tx(s->db, &info) != ERR_OK)
        exit(1);
    for (int64_t now = START; now < end; now += step_s) {
        if (!revoked && now >= START + 44 * DAY + 12 * HOUR) {
            revoke_some(s, now);
            revoked = true;
        }
        service_run(s, now, step_s);
        /* a closer look while orders wait for room */
        step_s = s->n_flights > 0 && gate_room(&s->cas[0].gate, now * 1000) == 0 ? 10 : idle_s;
    }
    if (sql_commit(s->db, &info) != ERR_OK)
        exit(1);
}

/* --- the report --- */

/* Those whose certificate has ended, though they were there to renew it. */
static int64_t ended_at_end(const struct fleet *f, int64_t now_s)
{
    int64_t n = 0;
    for (size_t i = 0; i < f->n; i++) {
        const struct device *d = &f->devices[i];
        n += d->names.issued_at != 0 && d->names.not_after <= now_s && !device_is_off(d, now_s) &&
             d->off_until <= d->names.not_after - DAY;
    }
    return n;
}

static int64_t hours_until(const struct service *s, double share)
{
    int64_t n = 0;
    for (int h = 0; h < 48; h++) {
        n += s->returned[h];
        if ((double)n >= share * (double)s->n_revoked)
            return h + 1;
    }
    return -1;
}

static int64_t db_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

static int report(const struct service *s, const struct options *o, const char *path, double cpu)
{
    const struct ca *ca = s->cas[0].ca;
    int64_t expired = s->expired_in_service + ended_at_end(s->fleet, START + o->days * DAY);
    (void)printf("| | |\n|---|---|\n");
    (void)printf("| devices at the start, new ones | %lld, %lld |\n", (long long)o->devices,
                 (long long)(s->fleet->n - (size_t)o->devices));
    (void)printf("| virtual days, CPU seconds | %lld, %.0f |\n", (long long)o->days, cpu);
    (void)printf("| **certificates ended in service** | **%lld** |\n", (long long)expired);
    (void)printf("| ended while the device was off | %lld |\n", (long long)s->expired_off);
    (void)printf("| certificates issued: first, renewed | %lld, %lld |\n", (long long)s->first,
                 (long long)s->renewed);
    if (s->n_cas > 1)
        (void)printf("| taken to the next CA; certificates of the second | %lld; %lld |\n",
                     (long long)s->failed_over, (long long)s->by_second);
    (void)printf("| renewals in the CA's window | %lld |\n", (long long)s->in_window);
    (void)printf("| windows missed: CA away, device off, known too late | %lld, %lld, %lld |\n",
                 (long long)s->missed_away, (long long)s->late, (long long)s->missed);
    (void)printf("| orders refused by a limit of the CA | %lld |\n", (long long)ca->n_limited);
    (void)printf("| orders unanswered, answered busy | %lld, %lld |\n", (long long)ca->n_away,
                 (long long)ca->n_busy);
    (void)printf("| requests to the CA, of these about windows | %lld, %lld |\n",
                 (long long)ca->n_requests, (long long)ca->n_windows);
    (void)printf("| busiest minute, requests a second | %.1f |\n", (double)ca->peak_minute / 60);
    (void)printf("| orders under way at most | %lld |\n", (long long)s->most_in_flight);
    (void)printf(
        "| revoked; hours until 50 %%, 99 %%, all were replaced | %lld; %lld, %lld, %lld |\n",
        (long long)s->n_revoked, (long long)hours_until(s, 0.5), (long long)hours_until(s, 0.99),
        (long long)hours_until(s, 1));
    (void)printf("| longest wait of a renewal in the queue, hours | %.1f |\n",
                 (double)s->longest_wait_s / 3600);
    (void)printf("| database, MiB | %lld |\n", (long long)(db_bytes(path) >> 20));
    int64_t limited = ca->n_limited + (s->n_cas > 1 ? s->cas[1].ca->n_limited : 0);
    return expired == 0 && limited == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    char dir[] = "/tmp/lanyard-sim-XXXXXX", path[128];
    static struct service s;
    struct fleet fleet;
    struct ca cas[SERVICE_CA_MAX];
    struct sql *db = NULL;
    if (o.db == NULL && mkdtemp(dir) == NULL)
        return 1;
    (void)snprintf(path, sizeof path, "%s/sim.db", dir);
    const char *file = o.db != NULL ? o.db : path;
    size_t new_devices = (size_t)(o.devices / 500 * o.days);
    if (new_devices > 2000 * (size_t)o.days)
        new_devices = 2000 * (size_t)o.days;
    if (!fleet_init(&fleet, (size_t)o.devices + new_devices, START, o.days))
        return 1;
    for (size_t i = 0; i < SERVICE_CA_MAX; i++)
        ca_init(&cas[i], LIFE_S, 100000);
    cas[0].away_from = START + 26 * DAY + 7 * HOUR;
    cas[0].away_until = cas[0].away_from + o.outage * DAY;
    open_db(&db, file);
    service_init(&s, db, &fleet, cas, (unsigned)o.issuers);
    s.windows_per_s = (double)o.devices * 0.75e-6;
    settle_fleet(&s, &o);
    run(&s, &o);
    sql_close(db);
    int rc = report(&s, &o, file, cpu_s());
    if (o.db == NULL) {
        (void)unlink(path);
        (void)rmdir(dir);
    }
    fleet_clear(&fleet);
    return rc;
}
