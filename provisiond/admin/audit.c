/* audit.c - lanyard-provisiond audit: who did what to which device, and whether the rows are whole.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "common/pki/devid.h"
#include "provisiond/admin/admin.h"

#define LIST_DEFAULT 100

struct listing {
    bool json;
    int64_t n;
};

/* What a device or an operator wrote cannot move the cursor of who reads it. */
static void print_plain(const char *text)
{
    for (; *text != 0; text++)
        (void)putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

static void print_json(const struct audit_row *row, const char *at)
{
    char hash[2 * AUDIT_HASH_LEN + 1];
    for (size_t i = 0; i < AUDIT_HASH_LEN; i++)
        (void)snprintf(hash + 2 * i, 3, "%02x", row->hash[i]);
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s}", "at", at, "chain", row->chain,
                          "seq", (json_int_t)row->seq, "actor", row->actor, "action", row->action,
                          "device", row->device_id, "detail", row->detail, "hash", hash);
    if (o != NULL && json_dumpf(o, stdout, JSON_COMPACT) == 0)
        (void)putchar('\n');
    json_decref(o);
}

static void print_row(void *arg, const struct audit_row *row)
{
    struct listing *l = arg;
    char at[CLOCK_TEXT_MAX];
    clock_format(row->at, at, sizeof at);
    l->n++;
    if (l->json) {
        print_json(row, at);
        return;
    }
    (void)printf("%s  ", at);
    print_plain(row->actor);
    (void)printf("  %s  %s  ", row->action, row->device_id[0] != 0 ? row->device_id : "-");
    print_plain(row->detail);
    (void)putchar('\n');
}

static void print_chain(void *arg, const struct audit_chain *c)
{
    bool *broken = arg;
    if (c->broken_at != 0) {
        *broken = true;
        (void)printf("%s: BROKEN at row %lld of %lld\n", c->name, (long long)c->broken_at,
                     (long long)c->n_rows);
        return;
    }
    (void)printf("%s: %lld rows, whole; the last has the hash ", c->name, (long long)c->n_rows);
    for (size_t i = 0; i < AUDIT_HASH_LEN; i++)
        (void)printf("%02x", c->head[i]);
    (void)putchar('\n');
}

static int verify(const struct admin *a)
{
    struct err_info info = { "" };
    bool broken = false;
    enum err e = audit_verify(a->db, print_chain, &broken, &info);
    return e == ERR_OK && broken ? 1 : admin_end(e, &info);
}

int admin_audit(const struct admin *a, int argc, char **argv)
{
    struct listing l = { .json = false };
    const char *device = NULL;
    int64_t limit = LIST_DEFAULT;
    struct err_info info = { "" };
    for (int i = 0; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        char *end = NULL;
        if (strcmp(argv[i], "--verify") == 0 && argc == 1)
            return verify(a);
        if (strcmp(argv[i], "--json") == 0) {
            l.json = true;
        } else if (strcmp(argv[i], "--device") == 0 && devid_is_valid(span_str(value))) {
            device = value;
            i++;
        } else if (strcmp(argv[i], "--limit") == 0) {
            limit = strtol(value, &end, 10);
            if (end == value || *end != 0 || limit < 1)
                return admin_usage("--limit takes a number");
            i++;
        } else {
            return admin_usage("audit takes --device ID, --limit N, --json, or --verify alone");
        }
    }
    enum err e = audit_each(a->db, device, limit, print_row, &l, &info);
    if (e == ERR_OK && l.n == 0 && !l.json)
        (void)puts("Nothing was done yet.");
    return admin_end(e, &info);
}
