/* order.c - lanyard-provisiond order list | show | retry | cancel */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/admin/admin.h"
#include "provisiond/admin/jsonline.h"
#include "provisiond/store/orderlist.h"

#define LIST_DEFAULT 100

struct listing {
    bool json, whole;
    int64_t n;
};

static void print_json(const struct orderlist_row *row)
{
    json_t *o = json_object();
    jsonline_int(o, "order", row->id);
    jsonline_text(o, "device", row->device_id);
    jsonline_text(o, "zone", row->zone);
    jsonline_text(o, "issuer", row->issuer);
    jsonline_text(o, "state", order_state_name(row->state));
    jsonline_bool(o, "held", row->held);
    jsonline_int(o, "lost", row->lost);
    jsonline_time(o, "due", row->due_at);
    jsonline_time(o, "created", row->created_at);
    jsonline_text(o, "problem", row->problem);
    jsonline_text(o, "detail", row->detail);
    jsonline_text(o, "url", row->url);
    jsonline_print(o);
}

static void print_field(const char *name, const char *text)
{
    if (text[0] == 0)
        return;
    (void)printf("%-9s ", name);
    admin_print_plain(text, SIZE_MAX);
    (void)putchar('\n');
}

static void print_whole(const struct orderlist_row *row)
{
    char due[CLOCK_TEXT_MAX], created[CLOCK_TEXT_MAX];
    clock_format(row->due_at, due, sizeof due);
    clock_format(row->created_at, created, sizeof created);
    (void)printf("order     %lld\n", (long long)row->id);
    print_field("device", row->device_id);
    print_field("zone", row->zone);
    print_field("issuer", row->issuer);
    print_field("state", order_state_name(row->state));
    print_field("created", created);
    if (!order_is_final(row->state))
        print_field("next try", row->held ? "a node works on it" : due);
    if (row->lost > 0)
        (void)printf("lost      %lld orders at the CA\n", (long long)row->lost);
    print_field("problem", row->problem);
    print_field("detail", row->detail);
    print_field("at the CA", row->url);
}

static void print_row(void *arg, const struct orderlist_row *row)
{
    struct listing *l = arg;
    char due[CLOCK_TEXT_MAX] = "-";
    if (l->json) {
        print_json(row);
    } else if (l->whole) {
        print_whole(row);
    } else {
        if (l->n == 0)
            (void)printf("%-8s %-32s %-12s %-20s %s\n", "ORDER", "DEVICE", "STATE", "NEXT TRY",
                         "PROBLEM");
        if (!order_is_final(row->state))
            clock_format(row->due_at, due, sizeof due);
        (void)printf("%-8lld %-32s %-12s %-20s %.24s\n", (long long)row->id, row->device_id,
                     order_state_name(row->state), due, row->problem);
    }
    l->n++;
}

static int list(const struct admin *a, int argc, char **argv)
{
    struct orderlist_filter f = { .open_only = true,
                                  .limit = LIST_DEFAULT,
                                  .now_s = clock_now_s() };
    struct listing l = { .n = 0 };
    struct err_info info = { "" };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--all") == 0)
            f.open_only = false;
        else if (strcmp(argv[i], "--json") == 0)
            l.json = true;
        else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            f.device_id = argv[++i];
        else if (strcmp(argv[i], "--limit") != 0 || i + 1 >= argc ||
                 !admin_number(argv[++i], &f.limit))
            return admin_usage("order list takes --all, --device ID, --limit N and --json");
    }
    enum err e = orderlist_each(a->db, &f, print_row, &l, &info);
    if (e == ERR_OK && l.n == 0 && !l.json)
        (void)puts(f.open_only ? "No order is open." : "There are no orders.");
    return admin_end(e, &info);
}

static int show(const struct admin *a, int64_t id, bool json)
{
    struct orderlist_filter f = { .id = id, .limit = 1, .now_s = clock_now_s() };
    struct listing l = { .json = json, .whole = true };
    struct err_info info = { "" };
    enum err e = orderlist_each(a->db, &f, print_row, &l, &info);
    if (e == ERR_OK && l.n == 0)
        e = err_set(&info, ERR_NOTFOUND, "there is no order %lld", (long long)id);
    return admin_end(e, &info);
}

struct act {
    const struct admin *a;
    int64_t id;
    bool cancel;
};

static void note_device(void *arg, const struct orderlist_row *row)
{
    (void)snprintf(arg, DEVID_LEN + 1, "%s", row->device_id);
}

static enum err in_transaction(void *arg, struct sql *db, struct err_info *info)
{
    struct act *act = arg;
    char device_id[DEVID_LEN + 1] = "";
    int64_t now = clock_now_s();
    struct orderlist_filter f = { .id = act->id, .limit = 1, .now_s = now };
    enum err e = orderlist_each(db, &f, note_device, device_id, info);
    if (e == ERR_OK)
        e = act->cancel ? orderlist_cancel(db, act->id, now, info)
                        : orderlist_hurry(db, act->id, now, info);
    return e != ERR_OK ? e
                       : admin_note(act->a, device_id, act->cancel ? "order-cancel" : "order-retry",
                                    info, "order %lld", (long long)act->id);
}

static int change(const struct admin *a, int64_t id, bool cancel)
{
    struct act act = { a, id, cancel };
    struct err_info info = { "" };
    enum err e = sql_transact(a->db, in_transaction, &act, &info);
    if (e == ERR_OK)
        (void)printf("order %lld is %s\n", (long long)id,
                     cancel ? "canceled; the device may send another request"
                            : "due: a running service takes it up within seconds");
    return admin_end(e, &info);
}

int admin_order(const struct admin *a, int argc, char **argv)
{
    int64_t id = 0;
    if (argc >= 1 && strcmp(argv[0], "list") == 0)
        return list(a, argc, argv);
    if (argc < 2 || !admin_number(argv[1], &id))
        return admin_usage("order takes list, or show, retry or cancel and the number of an order");
    bool json = argc == 3 && strcmp(argv[2], "--json") == 0;
    if (strcmp(argv[0], "show") == 0 && (argc == 2 || json))
        return show(a, id, json);
    if (strcmp(argv[0], "retry") == 0 && argc == 2)
        return change(a, id, false);
    if (strcmp(argv[0], "cancel") == 0 && argc == 2)
        return change(a, id, true);
    return admin_usage("order takes list, show, retry or cancel");
}
