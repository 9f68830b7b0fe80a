/* token.c - lanyard-provisiond token create | list | show | revoke */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "provisiond/admin/admin.h"
#include "provisiond/admin/jsonline.h"
#include "provisiond/store/token.h"

#define EXPIRES_DEFAULT_S ((int64_t)7 * 86400)
#define USES_MAX 100000000
#define LABEL_SHOWN 28 /* bytes in the table, which is 100 wide */
#define EXPIRES_MAX_S ((int64_t)3650 * 86400)

/* "90s", "15m", "12h", "30d" into seconds: without a unit nobody knows which was meant. */
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
    else if (strcmp(end, "s") != 0)
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

/* Reads the options into `row`; false when one is wrong, which was said. */
static bool read_options(const struct admin *a, int argc, char **argv, struct token_row *row)
{
    const char *zone = a->config->n_zones == 1 ? a->config->zones[0].name : NULL;
    int64_t life_s = EXPIRES_DEFAULT_S;
    int wrong = 0;
    for (int i = 1; i < argc && wrong == 0; i += 2) {
        const char *key = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value == NULL)
            wrong = admin_usage("%s is unknown, or needs a value", key);
        else if (strcmp(key, "--zone") == 0)
            zone = value;
        else if (strcmp(key, "--uses") == 0)
            wrong = admin_number(value, &row->quota) && row->quota <= USES_MAX
                        ? 0
                        : admin_usage("--uses takes a number of devices, 1 to %d", USES_MAX);
        else if (strcmp(key, "--expires") == 0)
            wrong = parse_duration(value, &life_s)
                        ? 0
                        : admin_usage("--expires takes a time with its unit (s, m, h or d) such as "
                                      "12h or 30d, at most 3650d");
        else if (strcmp(key, "--label") != 0)
            wrong = admin_usage("token create does not know %s", key);
        else if (strlen(value) >= sizeof row->label)
            wrong = admin_usage("--label takes at most %zu bytes", sizeof row->label - 1);
        else
            (void)snprintf(row->label, sizeof row->label, "%s", value);
    }
    const struct config_zone *z = zone != NULL ? config_zone_find(a->config, zone) : NULL;
    if (wrong == 0 && zone == NULL)
        wrong = admin_usage("there are several zones: say which with --zone NAME");
    else if (wrong == 0 && z == NULL)
        wrong = admin_usage("zone %s is not in the configuration", zone);
    if (wrong != 0)
        return false;
    row->created_at = clock_now_s();
    row->expires_at = row->created_at + life_s;
    (void)snprintf(row->zone, sizeof row->zone, "%s", z->name);
    return true;
}

static void print_created(const struct token_row *row, const char *text, bool json)
{
    char until[CLOCK_TEXT_MAX];
    if (json) {
        json_t *o = json_object();
        jsonline_int(o, "token", row->id);
        jsonline_text(o, "secret", text);
        jsonline_text(o, "zone", row->zone);
        jsonline_int(o, "uses", row->quota);
        jsonline_time(o, "expires", row->expires_at);
        jsonline_print(o);
        return;
    }
    clock_format(row->expires_at, until, sizeof until);
    (void)fprintf(
        stderr, "token %lld for zone %s: %lld device%s, until %s. It is shown only now:\n",
        (long long)row->id, row->zone, (long long)row->quota, row->quota == 1 ? "" : "s", until);
    (void)printf("%s\n", text);
}

static int create(const struct admin *a, int argc, char **argv, bool json)
{
    struct token_row row = { .quota = 1 };
    uint8_t random[TOKEN_RANDOM_LEN];
    char text[TOKEN_TEXT_LEN + 1];
    struct err_info info = { "" };
    struct act act = { .a = a, .row = &row };
    if (!read_options(a, argc, argv, &row))
        return ADMIN_WRONG_CALL;
    secret_random(random, sizeof random);
    token_format(text, TOKEN_ENROLMENT, random);
    enum err e = token_hash(act.hash, TOKEN_ENROLMENT, span_str(text));
    if (e == ERR_OK)
        e = sql_transact(a->db, do_create, &act, &info);
    row.id = act.id;
    if (e == ERR_OK)
        print_created(&row, text, json);
    explicit_bzero(text, sizeof text);
    explicit_bzero(random, sizeof random);
    return admin_end(e, &info);
}

/* --- list, show --- */

struct listing {
    bool json, whole;
    int64_t id; /* 0: all */
    int64_t n;
};

static const char *state_of(const struct token_row *row)
{
    return row->revoked_at != 0               ? "revoked"
           : row->held_at != 0                ? "held"
           : row->expires_at <= clock_now_s() ? "expired"
           : row->used >= row->quota          ? "used up"
                                              : "valid";
}

static void print_json(const struct token_row *row)
{
    json_t *o = json_object();
    jsonline_int(o, "token", row->id);
    jsonline_text(o, "state", state_of(row));
    jsonline_int(o, "uses", row->quota);
    jsonline_int(o, "used", row->used);
    jsonline_time(o, "created", row->created_at);
    jsonline_time(o, "expires", row->expires_at);
    jsonline_time(o, "revoked", row->revoked_at);
    jsonline_time(o, "held", row->held_at);
    jsonline_text(o, "zone", row->zone);
    jsonline_text(o, "label", row->label);
    jsonline_print(o);
}

static void print_whole(const struct token_row *row)
{
    char created[CLOCK_TEXT_MAX], until[CLOCK_TEXT_MAX], revoked[CLOCK_TEXT_MAX];
    clock_format(row->created_at, created, sizeof created);
    clock_format(row->expires_at, until, sizeof until);
    clock_format(row->revoked_at, revoked, sizeof revoked);
    (void)printf("token     %lld\nstate     %s\nzone      %s\ndevices   %lld of %lld\n"
                 "created   %s\nexpires   %s\n",
                 (long long)row->id, state_of(row), row->zone, (long long)row->used,
                 (long long)row->quota, created, until);
    if (row->revoked_at != 0)
        (void)printf("revoked   %s\n", revoked);
    (void)fputs("label     ", stdout);
    admin_print_plain(row->label, sizeof row->label);
    (void)putchar('\n');
}

static void print_row(void *arg, const struct token_row *row)
{
    struct listing *l = arg;
    char until[CLOCK_TEXT_MAX], devices[48];
    if (l->id != 0 && l->id != row->id)
        return;
    l->n++;
    if (l->json) {
        print_json(row);
        return;
    }
    if (l->whole) {
        print_whole(row);
        return;
    }
    if (l->n == 1)
        (void)printf("%-6s %-7s %-14s %-20s %-20s %s\n", "TOKEN", "STATE", "DEVICES", "EXPIRES",
                     "ZONE", "LABEL");
    (void)snprintf(devices, sizeof devices, "%lld of %lld", (long long)row->used,
                   (long long)row->quota);
    clock_format(row->expires_at, until, sizeof until);
    (void)printf("%-6lld %-7s %-14s %-20s %-20.20s ", (long long)row->id, state_of(row), devices,
                 until, row->zone);
    admin_print_plain(row->label, LABEL_SHOWN);
    (void)putchar('\n');
}

static int list(const struct admin *a, bool json)
{
    struct err_info info = { "" };
    struct listing l = { .json = json };
    enum err e = token_each(a->db, print_row, &l, &info);
    if (e == ERR_OK && l.n == 0 && !json)
        (void)puts("There are no tokens. Make one: lanyard-provisiond -c FILE token create");
    return admin_end(e, &info);
}

static int show(const struct admin *a, const char *number, bool json)
{
    struct err_info info = { "" };
    struct listing l = { .json = json, .whole = true };
    if (!admin_number(number, &l.id))
        return admin_usage("this is not the number of a token (never give the token itself)");
    enum err e = token_each(a->db, print_row, &l, &info);
    if (e == ERR_OK && l.n == 0)
        e = err_set(&info, ERR_NOTFOUND, "there is no token %lld", (long long)l.id);
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
    struct err_info info = { "" };
    struct act act = { .a = a };
    if (argc != 2)
        return admin_usage("token revoke takes the number of a token, as token list shows it, or "
                           "--all");
    if (strcmp(argv[1], "--all") == 0)
        return revoke_all(a);
    if (!admin_number(argv[1], &act.id))
        return admin_usage("this is not the number of a token (never give the token itself)");
    enum err e = sql_transact(a->db, do_revoke, &act, &info);
    if (e == ERR_OK)
        (void)printf("token %lld is revoked; devices it has admitted stay\n", (long long)act.id);
    return admin_end(e, &info);
}

/* --- release --- */

static enum err do_release(void *arg, struct sql *db, struct err_info *info)
{
    struct act *act = arg;
    enum err e = token_release(db, act->id, &act->n, info);
    if (e == ERR_OK && act->n == 0)
        e = err_set(info, ERR_NOTFOUND, "no such token is held");
    if (e == ERR_OK && act->id != 0)
        e = admin_note(act->a, "", "token-release", info, "token %lld", (long long)act->id);
    else if (e == ERR_OK)
        e = admin_note(act->a, "", "token-release", info, "all, %lld tokens", (long long)act->n);
    return e;
}

static int release(const struct admin *a, int argc, char **argv)
{
    struct err_info info = { "" };
    struct act act = { .a = a };
    if (argc != 2 || (strcmp(argv[1], "--all") != 0 && !admin_number(argv[1], &act.id)))
        return admin_usage("token release takes the number of a token, as token list shows it, or "
                           "--all");
    enum err e = sql_transact(a->db, do_release, &act, &info);
    if (e == ERR_OK)
        (void)printf("%lld token%s released: what is left of the uses counts again\n",
                     (long long)act.n, act.n == 1 ? " is" : "s are");
    return admin_end(e, &info);
}

int admin_token(const struct admin *a, int argc, char **argv)
{
    const char *verb = argc >= 1 ? argv[0] : "";
    if (strcmp(verb, "release") == 0)
        return release(a, argc, argv);
    if (strcmp(verb, "revoke") == 0)
        return revoke(a, argc, argv);
    bool json = admin_take_json(&argc, argv);
    if (strcmp(verb, "create") == 0)
        return create(a, argc, argv, json);
    if (strcmp(verb, "list") == 0 && argc == 1)
        return list(a, json);
    if (strcmp(verb, "show") == 0 && argc == 2)
        return show(a, argv[1], json);
    return admin_usage("token takes create, list, show, revoke or release");
}
