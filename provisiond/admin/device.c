/* device.c - lanyard-provisiond device list | show | suspend | resume */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/admin/admin.h"
#include "provisiond/store/certificate.h"
#include "provisiond/store/device.h"
#include "provisiond/store/order.h"

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
    return admin_end(e, &info);
}

static int set_state(const struct admin *a, const char *id, enum device_state s)
{
    struct device_row d;
    struct err_info info = { "" };
    enum err e = sql_begin_tx(a->db, &info);
    if (e != ERR_OK)
        return admin_end(e, &info);
    e = device_get(a->db, id, &d, &info);
    if (e == ERR_OK && d.state == DEVICE_FORGOTTEN)
        e = err_set(&info, ERR_NOTFOUND, "device %s was forgotten", id);
    if (e == ERR_OK)
        e = device_set_state(a->db, id, s, clock_now_s(), &info);
    if (e == ERR_OK)
        e = sql_commit(a->db, &info);
    else
        sql_rollback(a->db);
    if (e == ERR_OK && s == DEVICE_SUSPENDED)
        (void)printf("device %s is suspended: it gets no certificate; the one it has stays valid "
                     "until it ends\n",
                     id);
    else if (e == ERR_OK)
        (void)printf("device %s is active\n", id);
    return admin_end(e, &info);
}

int admin_device(const struct admin *a, int argc, char **argv)
{
    if (argc >= 1 && strcmp(argv[0], "list") == 0)
        return list(a, argc, argv);
    if (argc != 2)
        return admin_usage("device takes list, or show, suspend or resume and an id");
    if (!devid_is_valid(span_str(argv[1])))
        return admin_usage("'%s' is not a device id: 32 characters of a-z and 2-7", argv[1]);
    if (strcmp(argv[0], "show") == 0)
        return show(a, argv[1]);
    if (strcmp(argv[0], "suspend") == 0)
        return set_state(a, argv[1], DEVICE_SUSPENDED);
    if (strcmp(argv[0], "resume") == 0)
        return set_state(a, argv[1], DEVICE_ACTIVE);
    return admin_usage("device takes list, show, suspend or resume, not %s", argv[0]);
}
