/* device.c - lanyard-provisiond device list | show | suspend | resume | forget | release | revoke
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/admin/admin.h"
#include "provisiond/store/certificate.h"
#include "provisiond/store/device.h"
#include "provisiond/store/order.h"
#include "provisiond/store/revocation.h"
#include "provisiond/store/stopped.h"

#define LIST_DEFAULT 100
#define CERTIFICATES_SHOWN 5

static void print_row(void *arg, const struct device_row *row)
{
    int64_t *n = arg;
    char admitted[CLOCK_TEXT_MAX], seen[CLOCK_TEXT_MAX];
    clock_format(row->admitted_at, admitted, sizeof admitted);
    clock_format(row->seen_at, seen, sizeof seen);
    if (*n == 0)
        (void)printf("%-32s  %-9s  %-20s  %-20s  %s\n", "DEVICE", "STATE", "ADMITTED", "SEEN",
                     "ZONE");
    ++*n;
    (void)printf("%-32s  %-9s  %-20s  %-20s  %s%s%s\n", row->id, device_state_name(row->state),
                 admitted, seen, row->zone, row->flag[0] != 0 ? "  ! " : "", row->flag);
}

static int list(const struct admin *a, int argc, char **argv)
{
    struct err_info info = { "" };
    int64_t n = 0, limit = LIST_DEFAULT;
    if (argc == 3 && strcmp(argv[1], "--limit") == 0) {
        char *end;
        limit = strtol(argv[2], &end, 10);
        if (*end != 0 || limit < 1)
            return admin_usage("--limit takes a number");
    } else if (argc != 1) {
        return admin_usage("device list takes --limit N only");
    }
    enum err e = device_each(a->db, limit, print_row, &n, &info);
    if (e == ERR_OK && n == 0)
        (void)puts("No device has enrolled yet.");
    if (e == ERR_OK && n == limit)
        (void)printf("The newest %lld are shown; --limit N shows more.\n", (long long)limit);
    return admin_end(e, &info);
}

static void print_certificate(void *arg, const struct certificate_row *c)
{
    char from[CLOCK_TEXT_MAX], to[CLOCK_TEXT_MAX];
    (void)arg;
    clock_format(c->not_before, from, sizeof from);
    clock_format(c->not_after, to, sizeof to);
    (void)printf("certificate  serial %s by %s, valid %s to %s\n", c->serial, c->issuer, from, to);
}

static void print_revocation(void *arg, const struct revocation_state *r)
{
    (void)arg;
    (void)printf("revocation   serial %s, %s: %s%s%s\n", r->serial,
                 revocation_reason_name(r->reason), r->state, r->problem[0] != 0 ? ": " : "",
                 r->problem);
}

static void print_order(const struct order_row *o)
{
    char due[CLOCK_TEXT_MAX];
    (void)printf("order        %lld at %s: %s\n", (long long)o->id, o->issuer,
                 order_state_name(o->state));
    if (o->problem[0] != 0)
        (void)printf("problem      %s: %s\n", o->problem, o->detail);
    if (!order_is_final(o->state) && o->due_at > clock_now_s()) {
        clock_format(o->due_at, due, sizeof due);
        (void)printf("next try     %s\n", due);
    }
}

static int show(const struct admin *a, const char *id)
{
    struct device_row d;
    struct order_row o;
    struct err_info info = { "" };
    char at[CLOCK_TEXT_MAX];
    enum err e = device_get(a->db, id, &d, &info);
    if (e != ERR_OK)
        return admin_end(e, &info);
    (void)printf("device       %s\nzone         %s\nname         *.%s.%s\nstate        %s\n", d.id,
                 d.zone, d.id, d.zone, device_state_name(d.state));
    if (d.state == DEVICE_FORGOTTEN && d.quarantine_until > clock_now_s()) {
        clock_format(d.quarantine_until, at, sizeof at);
        (void)printf("quarantine   until %s\n", at);
    }
    if (d.flag[0] != 0)
        (void)printf("flag         %s\n", d.flag);
    clock_format(d.admitted_at, at, sizeof at);
    if (d.token_id != 0)
        (void)printf("admitted     %s by token %lld\n", at, (long long)d.token_id);
    else
        (void)printf("admitted     %s\n", at);
    clock_format(d.seen_at, at, sizeof at);
    (void)printf("seen         %s\n", at);
    e = order_latest(a->db, id, d.zone, &o, &info);
    if (e == ERR_OK)
        print_order(&o);
    else if (e != ERR_NOTFOUND)
        return admin_end(e, &info);
    e = certificate_each(a->db, id, CERTIFICATES_SHOWN, print_certificate, NULL, &info);
    if (e == ERR_OK)
        e = revocation_each(a->db, id, CERTIFICATES_SHOWN, print_revocation, NULL, &info);
    return admin_end(e, &info);
}

/* The names stop or come back at once where dnsd runs on this machine; elsewhere the service's own
 * round brings it. */
static void write_stopped(const struct admin *a, const char *zone)
{
    const struct config_zone *z = config_zone_find(a->config, zone);
    struct err_info info = { "" };
    bool changed;
    if (z == NULL || z->suspended == NULL)
        return;
    if (stopped_write(a->db, zone, z->suspended, clock_now_s(), &changed, &info) != ERR_OK)
        (void)fprintf(stderr, "lanyard-provisiond: the names go on for now: %s\n", info.text);
}

/* An act on one device: it is there, the act, its audit row, all in one transaction. */
struct act {
    const struct admin *a;
    enum err (*fn)(struct act *act);
    const char *id;
    const char *serial; /* NULL: all certificates */
    enum revocation_reason reason;
    struct device_row device;
    int64_t n_revoking;
    struct err_info info;
};

static enum err in_transaction(void *arg, struct sql *db, struct err_info *info)
{
    struct act *act = arg;
    enum err e = device_get(db, act->id, &act->device, info);
    if (e == ERR_OK)
        e = act->fn(act);
    if (e != ERR_OK && act->info.text[0] != 0)
        *info = act->info;
    return e;
}

static int run_act(struct act *act, enum err (*fn)(struct act *act))
{
    struct err_info info = { "" };
    act->fn = fn;
    enum err e = sql_transact(act->a->db, in_transaction, act, &info);
    act->info = info;
    if (e == ERR_OK)
        write_stopped(act->a, act->device.zone);
    return admin_end(e, &act->info);
}

static enum err refuse_forgotten(struct act *act)
{
    if (act->device.state == DEVICE_FORGOTTEN)
        return err_set(&act->info, ERR_NOTFOUND, "device %s was forgotten", act->id);
    return ERR_OK;
}

static enum err do_suspend(struct act *act)
{
    enum err e = refuse_forgotten(act);
    if (e == ERR_OK)
        e = device_set_state(act->a->db, act->id, DEVICE_SUSPENDED, clock_now_s(), &act->info);
    return e == ERR_OK ? admin_note(act->a, act->id, "suspend", &act->info, "%s", "") : e;
}

static enum err do_resume(struct act *act)
{
    enum err e = refuse_forgotten(act);
    if (e == ERR_OK)
        e = device_set_state(act->a->db, act->id, DEVICE_ACTIVE, clock_now_s(), &act->info);
    return e == ERR_OK ? admin_note(act->a, act->id, "resume", &act->info, "%s", "") : e;
}

static enum err do_forget(struct act *act)
{
    int64_t now = clock_now_s();
    enum err e = refuse_forgotten(act);
    if (e == ERR_OK)
        e = device_set_state(act->a->db, act->id, DEVICE_FORGOTTEN, now, &act->info);
    if (e == ERR_OK)
        e = revocation_request(act->a->db, act->id, NULL, REVOCATION_CESSATION, now,
                               &act->n_revoking, &act->info);
    return e == ERR_OK ? admin_note(act->a, act->id, "forget", &act->info,
                                    "%lld certificates to revoke", (long long)act->n_revoking)
                       : e;
}

static enum err do_release(struct act *act)
{
    enum err e = device_release(act->a->db, act->id, &act->info);
    return e == ERR_OK ? admin_note(act->a, act->id, "release", &act->info, "%s", "") : e;
}

static enum err do_revoke(struct act *act)
{
    enum err e = revocation_request(act->a->db, act->id, act->serial, act->reason, clock_now_s(),
                                    &act->n_revoking, &act->info);
    if (e == ERR_OK && act->n_revoking == 0)
        e = err_set(&act->info, ERR_NOTFOUND, "device %s has no valid certificate", act->id);
    return e == ERR_OK ? admin_note(act->a, act->id, "revoke", &act->info, "%lld certificates, %s",
                                    (long long)act->n_revoking, revocation_reason_name(act->reason))
                       : e;
}

static int revoke(const struct admin *a, int argc, char **argv)
{
    struct act act = { .a = a, .id = argv[1] };
    for (int i = 2; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--serial") == 0 && value[0] != 0)
            act.serial = value;
        else if (strcmp(argv[i], "--reason") != 0 ||
                 revocation_reason_parse(&act.reason, value) != ERR_OK)
            return admin_usage("device revoke takes --serial HEX and --reason unspecified, "
                               "keyCompromise, superseded or cessationOfOperation");
    }
    int status = run_act(&act, do_revoke);
    if (status == 0)
        (void)printf("%lld certificates of device %s are to be revoked (%s)\n",
                     (long long)act.n_revoking, act.id, revocation_reason_name(act.reason));
    return status;
}

static const struct {
    const char *verb;
    enum err (*fn)(struct act *act);
    const char *done; /* after "device ID " */
} ACTS[] = {
    { "suspend", do_suspend,
      "is suspended: it gets no certificate; the one it has stays valid until it ends" },
    { "resume", do_resume, "is active" },
    { "forget", do_forget,
      "is forgotten: its certificates are to be revoked, its id is in quarantine until they end" },
    { "release", do_release, "may enrol again" },
};

int admin_device(const struct admin *a, int argc, char **argv)
{
    if (argc >= 1 && strcmp(argv[0], "list") == 0)
        return list(a, argc, argv);
    if (argc < 2 || (argc != 2 && strcmp(argv[0], "revoke") != 0))
        return admin_usage("device takes list, or show, suspend, resume, forget, release or revoke "
                           "and an id");
    if (!devid_is_valid(span_str(argv[1])))
        return admin_usage("'%s' is not a device id: 32 characters of a-z and 2-7", argv[1]);
    if (strcmp(argv[0], "show") == 0)
        return show(a, argv[1]);
    if (strcmp(argv[0], "revoke") == 0)
        return revoke(a, argc, argv);
    for (size_t i = 0; i < ARRAY_LEN(ACTS); i++) {
        if (strcmp(argv[0], ACTS[i].verb) != 0)
            continue;
        struct act act = { .a = a, .id = argv[1] };
        int status = run_act(&act, ACTS[i].fn);
        if (status == 0)
            (void)printf("device %s %s\n", act.id, ACTS[i].done);
        return status;
    }
    return admin_usage(
        "device takes list, show, suspend, resume, forget, release or revoke, not %s", argv[0]);
}
