#include "provisiond/store/key.h"

#include <string.h>

#include "common/base/base32.h"
#include "provisiond/store/device.h"

static struct span hash_span(const uint8_t spki[SPKI_HASH_LEN])
{
    return (struct span){ spki, SPKI_HASH_LEN };
}

/* The device of the key in a table of the form of cert_key, "" when it is not there. */
static enum err find(struct sql *db, const char *text, const uint8_t spki[SPKI_HASH_LEN],
                     char owner[DEVID_LEN + 1], struct err_info *info)
{
    struct sql_query q;
    owner[0] = 0;
    sql_begin(&q, db, text);
    sql_bind_blob(&q, 1, hash_span(spki));
    while (sql_row(&q))
        sql_copy(&q, 0, owner, DEVID_LEN + 1);
    return sql_end(&q, NULL, info);
}

static enum err put(struct sql *db, const char *text, const uint8_t spki[SPKI_HASH_LEN],
                    const char *device_id, int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, text);
    sql_bind_blob(&q, 1, hash_span(spki));
    sql_bind_text(&q, 2, device_id);
    sql_bind_int(&q, 3, now_s);
    return sql_end(&q, NULL, info);
}

static enum err flag_both(struct sql *db, const char *owner, const char *other,
                          struct err_info *info)
{
    enum err e = device_flag(db, owner, "another device uses its key", info);
    return e == ERR_OK ? device_flag(db, other, "uses another device's key", info) : e;
}

enum err key_owner(struct sql *db, const uint8_t spki[SPKI_HASH_LEN], char owner[DEVID_LEN + 1],
                   struct err_info *info)
{
    struct device_row device;
    enum err e = find(db, "SELECT device_id FROM cert_key WHERE spki_sha256=$1", spki, owner, info);
    if (e != ERR_OK || owner[0] != 0)
        return e;
    /* an identity key is no certificate key, whosever it is: the id tells it */
    char id[DEVID_LEN + 1];
    base32_encode((struct span){ spki, 20 }, id);
    e = device_get(db, id, &device, NULL);
    if (e == ERR_OK)
        memcpy(owner, id, sizeof id);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err key_claim(struct sql *db, const uint8_t spki[SPKI_HASH_LEN], const char *device_id,
                   int64_t now_s, bool *reused, struct err_info *info)
{
    char owner[DEVID_LEN + 1];
    enum err e = key_owner(db, spki, owner, info);
    *reused = e == ERR_OK && owner[0] != 0 && strcmp(owner, device_id) != 0;
    if (*reused)
        return flag_both(db, owner, device_id, info);
    if (e != ERR_OK || owner[0] != 0)
        return e;
    return put(db, "INSERT INTO cert_key (spki_sha256, device_id, seen_at) VALUES ($1, $2, $3)",
               spki, device_id, now_s, info);
}

enum err key_claim_factory(struct sql *db, const uint8_t spki[SPKI_HASH_LEN], const char *device_id,
                           int64_t now_s, bool *reused, struct err_info *info)
{
    char owner[DEVID_LEN + 1];
    enum err e = find(db,
                      "SELECT f.device_id FROM factory_key f JOIN device d ON d.id=f.device_id"
                      " WHERE f.spki_sha256=$1 AND d.state<>'forgotten'",
                      spki, owner, info);
    *reused = e == ERR_OK && owner[0] != 0 && strcmp(owner, device_id) != 0;
    if (*reused)
        return flag_both(db, owner, device_id, info);
    if (e != ERR_OK)
        return e;
    return put(db,
               "INSERT INTO factory_key (spki_sha256, device_id, seen_at) VALUES ($1, $2, $3)"
               " ON CONFLICT (spki_sha256) DO UPDATE SET device_id=excluded.device_id,"
               " seen_at=excluded.seen_at",
               spki, device_id, now_s, info);
}

enum err key_is_blocked(struct sql *db, const uint8_t spki[SPKI_HASH_LEN], bool *blocked,
                        struct err_info *info)
{
    char owner[DEVID_LEN + 1];
    enum err e =
        find(db, "SELECT device_id FROM blocked_key WHERE spki_sha256=$1", spki, owner, info);
    if (e == ERR_OK)
        *blocked = owner[0] != 0;
    return e;
}

enum err key_block(struct sql *db, const uint8_t spki[SPKI_HASH_LEN], const char *device_id,
                   int64_t now_s, struct err_info *info)
{
    return put(db,
               "INSERT INTO blocked_key (spki_sha256, device_id, blocked_at) VALUES ($1, $2, $3)"
               " ON CONFLICT (spki_sha256) DO NOTHING",
               spki, device_id, now_s, info);
}
