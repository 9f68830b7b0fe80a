/* audit.c - lanyard-provisiond audit: who did what to which device, and whether the rows are whole.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/pki/devid.h"
#include "provisiond/admin/admin.h"
#include "provisiond/admin/jsonline.h"

#define LIST_DEFAULT 100
#define DETAIL_WIDTH 96 /* bytes of a line */

struct listing {
    bool json;
    int64_t n;
};

static void format_hash(const uint8_t hash[AUDIT_HASH_LEN], char out[2 * AUDIT_HASH_LEN + 1])
{
    for (size_t i = 0; i < AUDIT_HASH_LEN; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static void print_json(const struct audit_row *row)
{
    char hash[2 * AUDIT_HASH_LEN + 1];
    json_t *o = json_object();
    format_hash(row->hash, hash);
    jsonline_time(o, "at", row->at);
    jsonline_text(o, "chain", row->chain);
    jsonline_int(o, "seq", row->seq);
    jsonline_text(o, "actor", row->actor);
    jsonline_text(o, "action", row->action);
    jsonline_text(o, "device", row->device_id);
    jsonline_text(o, "detail", row->detail);
    jsonline_text(o, "hash", hash);
    jsonline_print(o);
}

/* Two lines: what was done to whom, then by whom and how. */
static void print_row(void *arg, const struct audit_row *row)
{
    struct listing *l = arg;
    char at[CLOCK_TEXT_MAX];
    l->n++;
    if (l->json) {
        print_json(row);
        return;
    }
    clock_format(row->at, at, sizeof at);
    (void)printf("%s  %s  %s\n    by ", at, row->action,
                 row->device_id[0] != 0 ? row->device_id : "-");
    admin_print_plain(row->actor, SIZE_MAX);
    for (const char *p = row->detail; *p != 0; p += strnlen(p, DETAIL_WIDTH)) {
        (void)fputs("\n    ", stdout);
        admin_print_plain(p, DETAIL_WIDTH);
    }
    (void)putchar('\n');
}

static void print_chain(void *arg, const struct audit_chain *c)
{
    struct listing *l = arg;
    char hash[2 * AUDIT_HASH_LEN + 1];
    format_hash(c->head, hash);
    l->n += c->broken_at != 0;
    if (l->json) {
        json_t *o = json_object();
        jsonline_text(o, "chain", c->name);
        jsonline_int(o, "rows", c->n_rows);
        jsonline_bool(o, "whole", c->broken_at == 0);
        jsonline_int(o, "broken_at", c->broken_at);
        jsonline_text(o, "hash", hash);
        jsonline_print(o);
    } else if (c->broken_at != 0) {
        (void)printf("%s: BROKEN at row %lld of %lld\n", c->name, (long long)c->broken_at,
                     (long long)c->n_rows);
    } else {
        (void)printf("%s: %lld rows, whole; the last has the hash\n    %s\n", c->name,
                     (long long)c->n_rows, hash);
    }
}

static int verify(const struct admin *a, bool json)
{
    struct err_info info = { "" };
    struct listing broken = { .json = json };
    enum err e = audit_verify(a->db, print_chain, &broken, &info);
    return e == ERR_OK && broken.n > 0 ? 1 : admin_end(e, &info);
}

int admin_audit(const struct admin *a, int argc, char **argv)
{
    struct listing l = { .json = admin_take_json(&argc, argv) };
    const char *device = NULL;
    int64_t limit = LIST_DEFAULT;
    struct err_info info = { "" };
    for (int i = 0; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--verify") == 0 && argc == 1)
            return verify(a, l.json);
        if (strcmp(argv[i], "--device") == 0 && devid_is_valid(span_str(value))) {
            device = value;
            i++;
        } else if (strcmp(argv[i], "--limit") == 0) {
            if (!admin_number(value, &limit))
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
