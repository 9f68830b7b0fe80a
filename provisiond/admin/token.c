/* token.c - lanyard-provisiond token create | list | revoke */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "provisiond/admin/admin.h"
#include "provisiond/store/token.h"

#define EXPIRES_DEFAULT_S ((int64_t)7 * 86400)
#define EXPIRES_MAX_S ((int64_t)3650 * 86400)

/* "90", "15m", "12h", "30d" into seconds. */
static bool parse_duration(const char *text, int64_t *out)
{
    char *end;
    long v = strtol(text, &end, 10);
    int64_t unit = 1;
    if (end == text || v < 1)
        return false;
    if (strcmp(end, "m") == 0)
        unit = 60;
    else if (strcmp(end, "h") == 0)
        unit = 3600;
    else if (strcmp(end, "d") == 0)
        unit = 86400;
    else if (strcmp(end, "s") != 0 && *end != 0)
        return false;
    if (v > EXPIRES_MAX_S / unit)
        return false;
    *out = (int64_t)v * unit;
    return true;
}

struct act {
    const struct admin *a;
    const struct token_row *row;
    uint8_t hash[TOKEN_HASH_LEN];
    int64_t id, n;
};

static enum err do_create(void *arg, struct sql *db, struct err_info *info)
{
    struct act *act = arg;
    enum err e = token_insert(db, act->row, act->hash, &act->id, info);
    return e == ERR_OK ? admin_note(act->a, "", "token-create", info,
                                    "token %lld for %lld devices of %.180s", (long long)act->id,
                                    (long long)act->row->quota, act->row->zone)
                       : e;
}

static int create(const struct admin *a, int argc, char **argv)
{
    const char *zone = a->config->n_zones == 1 ? a->config->zones[0].name : NULL;
    struct token_row row = { .quota = 1 };
    int64_t life_s = EXPIRES_DEFAULT_S;
    for (int i = 1; i < argc; i += 2) {
        const char *key = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        char *end = NULL;
        if (value == NULL)
            return admin_usage("%s needs a value", key);
        if (strcmp(key, "--zone") == 0) {
            zone = value;
        } else if (strcmp(key, "--uses") == 0) {
            row.quota = strtol(value, &end, 10);
            if (*end != 0 || row.quota < 1 || row.quota > 100000000)
                return admin_usage("--uses takes a number of devices, 1 to 100000000");
        } else if (strcmp(key, "--expires") == 0) {
            if (!parse_duration(value, &life_s))
                return admin_usage("--expires takes a time such as 15m, 12h or 30d, at most 3650d");
        } else if (strcmp(key, "--label") == 0) {
            if (strlen(value) >= sizeof row.label)
                return admin_usage("--label takes at most %zu characters", sizeof row.label - 1);
            (void)snprintf(row.label, sizeof row.label, "%s", value);
        } else {
            return admin_usage("token create does not know %s", key);
        }
    }
    if (zone == NULL)
        return admin_usage("there are several zones: say which with --zone NAME");
    const struct config_zone *z = config_zone_find(a->config, zone);
    if (z == NULL)
        return admin_usage("zone %s is not in the configuration", zone);
    row.created_at = clock_now_s();
    row.expires_at = row.created_at + life_s;
    (void)snprintf(row.zone, sizeof row.zone, "%s", z->name);

    uint8_t random[TOKEN_RANDOM_LEN];
    char text[TOKEN_TEXT_LEN + 1], until[CLOCK_TEXT_MAX];
    struct err_info info = { "" };
    struct act act = { .a = a, .row = &row };
    secret_random(random, sizeof random);
    token_format(text, random);
    enum err e = token_hash(act.hash, span_str(text));
    if (e == ERR_OK)
        e = sql_transact(a->db, do_create, &act, &info);
    if (e == ERR_OK) {
        clock_format(row.expires_at, until, sizeof until);
        (void)fprintf(
            stderr, "token %lld for zone %s: %lld device%s, until %s. It is shown only now:\n",
            (long long)act.id, row.zone, (long long)row.quota, row.quota == 1 ? "" : "s", until);
        (void)printf("%s\n", text);
    }
    explicit_bzero(text, sizeof text);
    explicit_bzero(random, sizeof random);
    return admin_end(e, &info);
}

static void print_row(void *arg, const struct token_row *row)
{
    bool *any = arg;
    int64_t now = clock_now_s();
    char until[CLOCK_TEXT_MAX];
    const char *state = row->revoked_at != 0      ? "revoked"
                        : row->expires_at <= now  ? "expired"
                        : row->used >= row->quota ? "used up"
                                                  : "valid";
    if (!*any)
        (void)printf("%-6s %-8s %-15s %-20s  %-24s %s\n", "TOKEN", "STATE", "DEVICES", "EXPIRES",
                     "ZONE", "LABEL");
    *any = true;
    char devices[48];
    (void)snprintf(devices, sizeof devices, "%lld of %lld", (long long)row->used,
                   (long long)row->quota);
    clock_format(row->expires_at, until, sizeof until);
    (void)printf("%-6lld %-8s %-15s %-20s  %-24s %s\n", (long long)row->id, state, devices, until,
                 row->zone, row->label);
}

static int list(const struct admin *a)
{
    struct err_info info = { "" };
    bool any = false;
    enum err e = token_each(a->db, print_row, &any, &info);
    if (e == ERR_OK && !any)
        (void)puts("There are no tokens. Make one: lanyard-provisiond -c FILE token create");
    return admin_end(e, &info);
}

static enum err do_revoke(void *arg, struct sql *db, struct err_info *info)
{
    struct act *act = arg;
    enum err e = token_revoke(db, act->id, clock_now_s(), info);
    return e == ERR_OK
               ? admin_note(act->a, "", "token-revoke", info, "token %lld", (long long)act->id)
               : e;
}

static enum err do_revoke_all(void *arg, struct sql *db, struct err_info *info)
{
    struct act *act = arg;
    enum err e = token_revoke_all(db, clock_now_s(), &act->n, info);
    return e == ERR_OK
               ? admin_note(act->a, "", "token-revoke", info, "all, %lld tokens", (long long)act->n)
               : e;
}

/* After a backup was restored: tokens that were used up since would be good again. */
static int revoke_all(const struct admin *a)
{
    struct err_info info = { "" };
    struct act act = { .a = a };
    enum err e = sql_transact(a->db, do_revoke_all, &act, &info);
    if (e == ERR_OK)
        (void)printf("%lld tokens are revoked; devices they have admitted stay\n",
                     (long long)act.n);
    return admin_end(e, &info);
}

static int revoke(const struct admin *a, int argc, char **argv)
{
    char *end = NULL;
    struct err_info info = { "" };
    if (argc != 2)
        return admin_usage("token revoke takes the number of a token, as token list shows it, or "
                           "--all");
    if (strcmp(argv[1], "--all") == 0)
        return revoke_all(a);
    long id = strtol(argv[1], &end, 10);
    if (*end != 0 || end == argv[1])
        return admin_usage("this is not the number of a token (never give the token itself)");
    struct act act = { .a = a, .id = id };
    enum err e = sql_transact(a->db, do_revoke, &act, &info);
    if (e == ERR_OK)
        (void)printf("token %ld is revoked; devices it has admitted stay\n", id);
    return admin_end(e, &info);
}

int admin_token(const struct admin *a, int argc, char **argv)
{
    if (argc >= 1 && strcmp(argv[0], "create") == 0)
        return create(a, argc, argv);
    if (argc == 1 && strcmp(argv[0], "list") == 0)
        return list(a);
    if (argc >= 1 && strcmp(argv[0], "revoke") == 0)
        return revoke(a, argc, argv);
    return admin_usage("token takes create, list or revoke");
}
