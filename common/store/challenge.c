#include <stdio.h>
#include <string.h>

#include "common/base/b64url.h"
#include "common/store/challenge_backend.h"

static const char SQLITE[] = "sqlite:", POSTGRES[] = "postgresql://";

static bool has_prefix(const char *url, const char *prefix)
{
    return strncmp(url, prefix, strlen(prefix)) == 0;
}

enum err challenge_url_check(const char *url, bool *has_password, struct err_info *info)
{
    *has_password = false;
    if (has_prefix(url, POSTGRES))
        return challenge_postgres_check(url, has_password, info);
    if (!has_prefix(url, SQLITE) || url[sizeof SQLITE - 1] == 0)
        return err_set(info, ERR_CONFIG,
                       "'%.*s' is not a store: write sqlite:PATH or postgresql://...",
                       (int)strcspn(url, ":"), url);
    return ERR_OK;
}

void challenge_url_show(const char *url, char *out, size_t cap)
{
    if (has_prefix(url, POSTGRES))
        challenge_postgres_show(url, out, cap);
    else
        (void)snprintf(out, cap, "%s", url);
}

enum err challenge_store_open(struct challenge_store **out, const char *url, bool writer,
                              struct err_info *info)
{
    bool has_password;
    enum err e = challenge_url_check(url, &has_password, info);
    if (e != ERR_OK)
        return e;
    if (!has_prefix(url, POSTGRES))
        return challenge_sqlite_open(out, url + sizeof SQLITE - 1, writer, info);
    if (writer)
        return err_set(info, ERR_CONFIG,
                       "a challenge store in PostgreSQL can only be read by this program");
    return challenge_postgres_open(out, url, info);
}

void challenge_store_free(struct challenge_store *s)
{
    if (s != NULL)
        s->ops->free(s);
}

bool challenge_value_has_form(const char *value)
{
    static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789-_";
    return strnlen(value, CHALLENGE_VALUE_LEN + 1) == CHALLENGE_VALUE_LEN &&
           strspn(value, ALPHABET) == CHALLENGE_VALUE_LEN;
}

/* Whether `value` is the base64url of a SHA-256. */
static bool value_is_valid(const char *value)
{
    uint8_t hash[32];
    size_t len;
    return b64url_decode(span_str(value), hash, sizeof hash, &len) == ERR_OK && len == sizeof hash;
}

enum err challenge_get(struct challenge_store *s, const char *zone, const char *id, int64_t now_s,
                       struct challenge_value values[CHALLENGE_VALUES_MAX], size_t *n,
                       struct err_info *info)
{
    return s->ops->get(s, zone, id, now_s, values, n, info);
}

enum err challenge_put(struct challenge_store *s, const char *zone, const char *id,
                       int64_t order_id, const char *value, int64_t expires_at, int64_t now_s,
                       struct err_info *info)
{
    if (!value_is_valid(value))
        return err_set(info, ERR_INVALID, "not a challenge value");
    return s->ops->put(s, zone, id, order_id, value, expires_at, now_s, info);
}

enum err challenge_remove(struct challenge_store *s, int64_t order_id, int64_t until_s,
                          int64_t now_s, struct err_info *info)
{
    return s->ops->remove(s, order_id, until_s, now_s, info);
}

enum err challenge_orders(struct challenge_store *s, challenge_order_fn *fn, void *arg,
                          struct err_info *info)
{
    return s->ops->orders(s, fn, arg, info);
}
