/* device.c - lanyard-provisiond device list | show | suspend | resume | forget | release | revoke |
 * unpair | flag */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/admin/admin.h"
#include "provisiond/admin/jsonline.h"
#include "provisiond/admin/reportshow.h"
#include "provisiond/store/certificate.h"
#include "provisiond/store/device.h"
#include "provisiond/store/order.h"
#include "provisiond/store/revocation.h"
#include "provisiond/store/stopped.h"
#include "provisiond/store/viewer.h"

#define LIST_DEFAULT 100
#define CERTIFICATES_SHOWN 5
#define FLAG_SHOWN 16 /* bytes in the table, which is 100 wide */

/* --- list --- */

struct listing {
    bool json;
    int64_t n;
};

static json_t *device_json(const struct device_row *row)
{
    json_t *o = json_object();
    jsonline_text(o, "device", row->id);
    jsonline_text(o, "zone", row->zone);
    jsonline_text(o, "state", device_state_name(row->state));
    jsonline_text(o, "flag", row->flag);
    jsonline_time(o, "admitted", row->admitted_at);
    jsonline_time(o, "seen", row->seen_at);
    jsonline_time(o, "quarantine_until", row->quarantine_until);
    jsonline_int(o, "token", row->token_id);
    return o;
}

static void print_row(void *arg, const struct device_row *row)
{
    struct listing *l = arg;
    char admitted[CLOCK_TEXT_MAX], seen[CLOCK_TEXT_MAX];
    l->n++;
    if (l->json) {
        jsonline_print(device_json(row));
        return;
    }
    clock_format(row->admitted_at, admitted, sizeof admitted);
    clock_format(row->seen_at, seen, sizeof seen);
    if (l->n == 1)
        (void)printf("%-32s %-9s %-10s %-10s %-18s %s\n", "DEVICE", "STATE", "ADMITTED", "SEEN",
                     "ZONE", "FLAG");
    (void)printf("%-32s %-9s %-10.10s %-10.10s %-18.18s ", row->id, device_state_name(row->state),
                 admitted, seen, row->zone);
    admin_print_plain(row->flag, FLAG_SHOWN);
    (void)putchar('\n');
}

static bool is_state(const char *text)
{
    bool found = false;
    for (int s = DEVICE_ACTIVE; s <= DEVICE_FORGOTTEN; s++)
        found = found || strcmp(text, device_state_name((enum device_state)s)) == 0;
    return found;
}

/* Reads the options of `list`; not 0: one is wrong, which was said. */
static int read_filter(struct device_filter *f, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *key = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(key, "--flagged") == 0) {
            f->flagged = true;
            continue;
        }
        if (strcmp(key, "--zone") == 0 && value[0] != 0)
            f->zone = value;
        else if (strcmp(key, "--state") == 0 && is_state(value))
            f->state = value;
        else if (strcmp(key, "--state") == 0)
            return admin_usage("--state takes active, suspended or forgotten");
        else if (strcmp(key, "--limit") != 0)
            return admin_usage("device list takes --zone NAME, --state STATE, --flagged, --limit N "
                               "and --json only");
        else if (!admin_number(value, &f->limit))
            return admin_usage("--limit takes a number");
        i++;
    }
    return 0;
}

static int list(const struct admin *a, int argc, char **argv, bool json)
{
    struct err_info info = { "" };
    struct listing l = { .json = json };
    struct device_filter f = { .limit = LIST_DEFAULT };
    int wrong = read_filter(&f, argc, argv);
    if (wrong != 0)
        return wrong;
    if (f.zone != NULL && config_zone_find(a->config, f.zone) == NULL)
        return admin_usage("zone %s is not in the configuration", f.zone);
    bool is_all = f.zone == NULL && f.state == NULL && !f.flagged;
    enum err e = device_each(a->db, &f, print_row, &l, &info);
    if (e == ERR_OK && l.n == 0 && !json)
        (void)puts(is_all ? "No device has enrolled yet." : "There is no such device.");
    if (e == ERR_OK && l.n == f.limit && !json)
        (void)printf("The newest %lld are shown; --limit N shows more.\n", (long long)f.limit);
    return admin_end(e, &info);
}

/* --- show --- */

struct whole { /* as JSON; NULL: printed as text at once */
    json_t *device, *certificates, *revocations;
};

static void add_certificate(void *arg, const struct certificate_row *c)
{
    struct whole *w = arg;
    char from[CLOCK_TEXT_MAX], to[CLOCK_TEXT_MAX];
    if (w->device != NULL) {
        json_t *o = json_object();
        jsonline_text(o, "serial", c->serial);
        jsonline_text(o, "issuer", c->issuer);
        jsonline_time(o, "not_before", c->not_before);
        jsonline_time(o, "not_after", c->not_after);
        (void)json_array_append_new(w->certificates, o);
        return;
    }
    clock_format(c->not_before, from, sizeof from);
    clock_format(c->not_after, to, sizeof to);
    (void)printf("certificate  serial %s by %s, valid %s to %s\n", c->serial, c->issuer, from, to);
}

static void add_revocation(void *arg, const struct revocation_state *r)
{
    struct whole *w = arg;
    if (w->device != NULL) {
        json_t *o = json_object();
        jsonline_text(o, "serial", r->serial);
        jsonline_text(o, "reason", revocation_reason_name(r->reason));
        jsonline_text(o, "state", r->state);
        jsonline_text(o, "problem", r->problem);
        (void)json_array_append_new(w->revocations, o);
        return;
    }
    (void)printf("revocation   serial %s, %s: %s%s", r->serial, revocation_reason_name(r->reason),
                 r->state, r->problem[0] != 0 ? ": " : "");
    admin_print_plain(r->problem, SIZE_MAX);
    (void)putchar('\n');
}

static void add_order(struct whole *w, const struct order_row *o)
{
    char due[CLOCK_TEXT_MAX];
    bool waits = !order_is_final(o->state) && o->due_at > clock_now_s();
    if (w->device != NULL) {
        json_t *j = json_object();
        jsonline_int(j, "order", o->id);
        jsonline_text(j, "issuer", o->issuer);
        jsonline_text(j, "state", order_state_name(o->state));
        jsonline_text(j, "problem", o->problem);
        jsonline_text(j, "detail", o->detail);
        jsonline_time(j, "due", waits ? o->due_at : 0);
        (void)json_object_set_new(w->device, "order", j);
        return;
    }
    (void)printf("order        %lld at %s: %s\n", (long long)o->id, o->issuer,
                 order_state_name(o->state));
    if (o->problem[0] != 0) {
        (void)fputs("problem      ", stdout);
        admin_print_plain(o->problem, SIZE_MAX);
        (void)fputs(": ", stdout);
        admin_print_plain(o->detail, SIZE_MAX);
        (void)putchar('\n');
    }
    if (waits) {
        clock_format(o->due_at, due, sizeof due);
        (void)printf("next try     %s\n", due);
    }
}

static void print_whole(const struct device_row *d)
{
    char at[CLOCK_TEXT_MAX];
    (void)printf("device       %s\nzone         %s\nname         *.%s.%s\nstate        %s\n", d->id,
                 d->zone, d->id, d->zone, device_state_name(d->state));
    if (d->state == DEVICE_FORGOTTEN && d->quarantine_until > clock_now_s()) {
        clock_format(d->quarantine_until, at, sizeof at);
        (void)printf("quarantine   until %s\n", at);
    }
    if (d->flag[0] != 0) {
        (void)fputs("flag         ", stdout);
        admin_print_plain(d->flag, SIZE_MAX);
        (void)putchar('\n');
    }
    clock_format(d->admitted_at, at, sizeof at);
    if (d->token_id != 0)
        (void)printf("admitted     %s by token %lld\n", at, (long long)d->token_id);
    else
        (void)printf("admitted     %s\n", at);
    clock_format(d->seen_at, at, sizeof at);
    (void)printf("seen         %s\n", at);
}

static enum err show_viewers(const struct admin *a, const char *id, struct whole *w,
                             struct err_info *info)
{
    int64_t n_tokens = 0, n_accounts = 0;
    enum err e = viewer_count(a->db, id, clock_now_s(), &n_tokens, &n_accounts, info);
    if (e == ERR_OK && w->device != NULL) {
        jsonline_int(w->device, "viewers", n_tokens);
        jsonline_int(w->device, "accounts", n_accounts);
    } else if (e == ERR_OK) {
        (void)printf("shown to     %lld viewer%s and %lld account%s\n", (long long)n_tokens,
                     n_tokens == 1 ? "" : "s", (long long)n_accounts, n_accounts == 1 ? "" : "s");
    }
    return e;
}

static int show(const struct admin *a, const char *id, bool json)
{
    struct device_row d;
    struct order_row o;
    struct whole w = { .device = NULL };
    struct err_info info = { "" };
    enum err e = device_get(a->db, id, &d, &info);
    if (e != ERR_OK)
        return admin_end(e, &info);
    if (json) {
        w = (struct whole){ device_json(&d), json_array(), json_array() };
        (void)json_object_set_new(w.device, "order", json_null());
        (void)json_object_set_new(w.device, "certificates", w.certificates);
        (void)json_object_set_new(w.device, "revocations", w.revocations);
    } else {
        print_whole(&d);
    }
    e = order_latest(a->db, id, d.zone, &o, &info);
    if (e == ERR_OK)
        add_order(&w, &o);
    if (e == ERR_OK || e == ERR_NOTFOUND)
        e = certificate_each(a->db, id, CERTIFICATES_SHOWN, add_certificate, &w, &info);
    if (e == ERR_OK)
        e = revocation_each(a->db, id, CERTIFICATES_SHOWN, add_revocation, &w, &info);
    if (e == ERR_OK)
        e = reportshow(a->db, &d, a->config, w.device, &info);
    if (e == ERR_OK)
        e = show_viewers(a, id, &w, &info);
    if (e == ERR_OK && json)
        jsonline_print(w.device);
    else
        json_decref(w.device);
    return admin_end(e, &info);
}

/* --- acts --- */

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
    const char *flag; /* "" takes it away */
    struct device_row device;
    int64_t n_revoking;
    int64_t n_viewers;
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

static enum err do_flag(struct act *act)
{
    enum err e = device_flag(act->a->db, act->id, act->flag, &act->info);
    return e == ERR_OK ? admin_note(act->a, act->id, "flag", &act->info, "%s",
                                    act->flag[0] != 0 ? act->flag : "taken away")
                       : e;
}

static enum err do_unpair(struct act *act)
{
    enum err e = viewer_remove_all(act->a->db, act->id, &act->n_viewers, &act->info);
    return e == ERR_OK ? admin_note(act->a, act->id, "unpair", &act->info, "%lld viewers",
                                    (long long)act->n_viewers)
                       : e;
}

static int unpair(const struct admin *a, const char *id)
{
    struct act act = { .a = a, .id = id };
    int status = run_act(&act, do_unpair);
    if (status == 0)
        (void)printf("device %s is shown to nobody any more: it was to %lld viewer%s\n", id,
                     (long long)act.n_viewers, act.n_viewers == 1 ? "" : "s");
    return status;
}

static int flag(const struct admin *a, int argc, char **argv)
{
    struct act act = { .a = a, .id = argv[1], .flag = "by the operator" };
    if (argc == 3 && strcmp(argv[2], "--clear") == 0)
        act.flag = "";
    else if (argc == 4 && strcmp(argv[2], "--why") == 0 && argv[3][0] != 0 &&
             strlen(argv[3]) < sizeof act.device.flag)
        act.flag = argv[3];
    else if (argc != 2)
        return admin_usage("device flag takes --why TEXT of at most %zu bytes, or --clear",
                           sizeof act.device.flag - 1);
    int status = run_act(&act, do_flag);
    if (status == 0)
        (void)printf("device %s is %s\n", act.id,
                     act.flag[0] != 0 ? "flagged" : "not flagged any more");
    return status;
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

/* One of ACTS. */
static int plain_act(const struct admin *a, const char *verb, const char *id)
{
    for (size_t i = 0; i < ARRAY_LEN(ACTS); i++) {
        if (strcmp(verb, ACTS[i].verb) != 0)
            continue;
        struct act act = { .a = a, .id = id };
        int status = run_act(&act, ACTS[i].fn);
        if (status == 0)
            (void)printf("device %s %s\n", act.id, ACTS[i].done);
        return status;
    }
    return admin_usage(
        "device takes list, show, suspend, resume, forget, release, revoke, unpair or flag, not %s",
        verb);
}

int admin_device(const struct admin *a, int argc, char **argv)
{
    const char *verb = argc >= 1 ? argv[0] : "";
    bool reads = strcmp(verb, "list") == 0 || strcmp(verb, "show") == 0;
    bool json = reads && admin_take_json(&argc, argv);
    if (strcmp(verb, "list") == 0)
        return list(a, argc, argv, json);
    if (argc < 2)
        return admin_usage("device takes list, or show, suspend, resume, forget, release, revoke, "
                           "unpair or flag and an id");
    if (!devid_is_valid(span_str(argv[1])))
        return admin_usage("'%s' is not a device id: 32 characters of a-z and 2-7", argv[1]);
    if (strcmp(verb, "revoke") == 0)
        return revoke(a, argc, argv);
    if (strcmp(verb, "flag") == 0)
        return flag(a, argc, argv);
    if (argc != 2)
        return admin_usage("device %s takes an id and nothing more", verb);
    if (strcmp(verb, "unpair") == 0)
        return unpair(a, argv[1]);
    return strcmp(verb, "show") == 0 ? show(a, argv[1], json) : plain_act(a, verb, argv[1]);
}
