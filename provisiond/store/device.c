#include "provisiond/store/device.h"

#include <string.h>

#include "provisiond/store/key.h"
#include "provisiond/store/order.h"
#include "provisiond/store/report.h"
#include "provisiond/store/token.h"
#include "provisiond/store/viewer.h"

#define TOUCH_EVERY_S 3600
/* Of a certificate that the CA may have issued and that nobody has seen: no public one lives
 * longer. [CA/B BR 6.3.2] */
#define UNSEEN_LIFE_S ((int64_t)200 * 86400)

static const char *const STATES[] = { "active", "suspended", "forgotten" };

const char *device_state_name(enum device_state s)
{
    return (unsigned)s < ARRAY_LEN(STATES) ? STATES[s] : "unknown";
}

#define COLUMNS                                                                                    \
    "id, zone, state, coalesce(token_id, 0), admitted_at, seen_at, coalesce(flag, ''),"            \
    " quarantine_until"

static void read_row(struct sql_query *q, struct device_row *row)
{
    *row = (struct device_row){ .token_id = sql_int(q, 3),
                                .admitted_at = sql_int(q, 4),
                                .seen_at = sql_int(q, 5) };
    sql_copy(q, 0, row->id, sizeof row->id);
    sql_copy(q, 1, row->zone, sizeof row->zone);
    sql_copy(q, 6, row->flag, sizeof row->flag);
    row->quarantine_until = sql_int(q, 7);
    row->state = DEVICE_SUSPENDED; /* a state from a newer program is no permission */
    for (unsigned i = 0; i < ARRAY_LEN(STATES); i++) {
        if (strcmp(sql_text(q, 2), STATES[i]) == 0)
            row->state = (enum device_state)i;
    }
}

enum err device_get(struct sql *db, const char *id, struct device_row *out, struct err_info *info)
{
    struct sql_query q;
    struct device_row row;
    bool found = false;
    sql_begin(&q, db, "SELECT " COLUMNS " FROM device WHERE id=$1");
    sql_bind_text(&q, 1, id);
    while (sql_row(&q)) {
        read_row(&q, &row);
        found = true;
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && !found)
        e = err_set(info, ERR_NOTFOUND, "there is no device %s", id);
    if (e == ERR_OK)
        *out = row;
    return e;
}

static enum err insert(struct sql *db, const char *id, const char *zone, int64_t token_id,
                       int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO device (id, zone, state, token_id, admitted_at, seen_at)"
              " VALUES ($1, $2, 'active', $3, $4, $4) ON CONFLICT (id) DO UPDATE SET"
              " zone=excluded.zone, state='active', token_id=excluded.token_id,"
              " admitted_at=excluded.admitted_at, seen_at=excluded.seen_at");
    sql_bind_text(&q, 1, id);
    sql_bind_text(&q, 2, zone);
    sql_bind_int(&q, 3, token_id);
    sql_bind_int(&q, 4, now_s);
    return sql_end(&q, NULL, info);
}

static enum err gather(struct sql *db, const struct device_request *rq, struct admission_facts *f,
                       char owner[DEVID_LEN + 1], struct err_info *info)
{
    struct device_row row;
    bool blocked = false;
    *f = (struct admission_facts){ .listed = rq->listed };
    enum err e = device_get(db, rq->id, &row, NULL);
    if (e == ERR_OK) {
        f->known = true;
        f->suspended = row.state == DEVICE_SUSPENDED;
        f->forgotten = row.state == DEVICE_FORGOTTEN;
        f->same_zone = strcmp(row.zone, rq->zone) == 0;
        f->quarantine_until = row.quarantine_until;
    }
    if (e == ERR_OK || e == ERR_NOTFOUND)
        e = key_is_blocked(db, rq->spki_sha256, &blocked, info);
    if (e == ERR_OK)
        e = key_owner(db, rq->spki_sha256, owner, info);
    f->key_blocked = rq->key_blocked || blocked;
    f->key_reused = e == ERR_OK && owner[0] != 0 && strcmp(owner, rq->id) != 0;
    return e;
}

/* Uses up what a fresh device brought. */
static enum err use_credential(struct sql *db, const struct device_request *rq, int64_t now_s,
                               enum admission *out, int64_t *token_id, struct err_info *info)
{
    bool reused = false;
    enum err e = ERR_OK;
    if (rq->needs_factory && rq->factory_spki_sha256 == NULL) {
        *out = ADMISSION_FACTORY;
        return ERR_OK;
    }
    if (rq->needs_factory)
        e = key_claim_factory(db, rq->factory_spki_sha256, rq->id, now_s, &reused, info);
    if (reused)
        *out = ADMISSION_FACTORY_REUSED;
    if (e == ERR_OK && !reused && rq->token_hash != NULL)
        e = token_consume(db, rq->token_hash, rq->zone, now_s, token_id, info);
    if (e == ERR_DENIED) {
        *out = ADMISSION_TOKEN;
        e = ERR_OK;
    }
    return e;
}

enum err device_admit(struct sql *db, const struct device_request *rq, int64_t now_s,
                      enum admission *out, int64_t *token_id, struct err_info *info)
{
    struct admission_facts facts;
    char owner[DEVID_LEN + 1] = "";
    *token_id = 0;
    enum err e = gather(db, rq, &facts, owner, info);
    if (e != ERR_OK)
        return e;
    enum admission a = admission_judge(&facts, now_s);
    if (a == ADMISSION_KEY_REUSED)
        e = device_flag(db, owner, "another device uses its key", info);
    else if (a == ADMISSION_KNOWN)
        e = device_touch(db, rq->id, now_s, info);
    else if (a == ADMISSION_FRESH)
        e = use_credential(db, rq, now_s, &a, token_id, info);
    if (e == ERR_OK && a == ADMISSION_FRESH)
        e = insert(db, rq->id, rq->zone, *token_id, now_s, info);
    if (e == ERR_OK)
        *out = a;
    return e;
}

enum err device_touch(struct sql *db, const char *id, int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "UPDATE device SET seen_at=$1 WHERE id=$2 AND seen_at<$3");
    sql_bind_int(&q, 1, now_s);
    sql_bind_text(&q, 2, id);
    sql_bind_int(&q, 3, now_s - TOUCH_EVERY_S);
    return sql_end(&q, NULL, info);
}

enum err device_set_state(struct sql *db, const char *id, enum device_state s, int64_t now_s,
                          struct err_info *info)
{
    struct sql_query q;
    int64_t changed = 0;
    sql_begin(&q, db,
              "UPDATE device SET state=$1, quarantine_until=(SELECT coalesce(max(ends_at), 0) FROM"
              " (SELECT not_after AS ends_at FROM certificate WHERE device_id=$2"
              " UNION ALL SELECT CAST($3 AS BIGINT) FROM cert_order WHERE device_id=$2"
              " AND " ORDER_AT_CA
              " UNION ALL SELECT quarantine_until FROM device WHERE id=$2" /* of canceled ones */
              ") AS lives) WHERE id=$2");
    sql_bind_text(&q, 1, device_state_name(s));
    sql_bind_text(&q, 2, id);
    sql_bind_int(&q, 3, now_s + UNSEEN_LIFE_S);
    enum err e = sql_end(&q, &changed, info);
    if (e == ERR_OK && changed == 0)
        e = err_set(info, ERR_NOTFOUND, "there is no device %s", id);
    if (e == ERR_OK && s == DEVICE_FORGOTTEN)
        e = report_delete(db, id, info);
    if (e != ERR_OK || s == DEVICE_ACTIVE)
        return e;
    sql_begin(&q, db,
              "UPDATE cert_order SET state='canceled', detail=$1, updated_at=$2, fence=fence+1"
              " WHERE device_id=$3 AND " ORDER_OPEN);
    sql_bind_text(&q, 1, s == DEVICE_SUSPENDED ? "the device was suspended" : "the device is gone");
    sql_bind_int(&q, 2, now_s);
    sql_bind_text(&q, 3, id);
    e = sql_end(&q, NULL, info);
    if (e == ERR_OK && s == DEVICE_FORGOTTEN) /* they must not see it again when it comes back */
        e = viewer_remove_all(db, id, &changed, info);
    return e;
}

enum err device_expect_unseen(struct sql *db, const char *id, int64_t now_s, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "UPDATE device SET quarantine_until=$1 WHERE id=$2 AND quarantine_until<$1 AND EXISTS"
              " (SELECT 1 FROM cert_order WHERE device_id=$2 AND " ORDER_AT_CA ")");
    sql_bind_int(&q, 1, now_s + UNSEEN_LIFE_S);
    sql_bind_text(&q, 2, id);
    return sql_end(&q, NULL, info);
}

enum err device_flag(struct sql *db, const char *id, const char *why, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "UPDATE device SET flag=$1 WHERE id=$2");
    sql_bind_text(&q, 1, why);
    sql_bind_text(&q, 2, id);
    return sql_end(&q, NULL, info);
}

enum err device_release(struct sql *db, const char *id, struct err_info *info)
{
    struct sql_query q;
    int64_t changed = 0;
    sql_begin(&q, db, "UPDATE device SET quarantine_until=0 WHERE id=$1 AND state='forgotten'");
    sql_bind_text(&q, 1, id);
    enum err e = sql_end(&q, &changed, info);
    if (e == ERR_OK && changed == 0)
        e = err_set(info, ERR_NOTFOUND, "there is no forgotten device %s", id);
    return e;
}

enum err device_list_stopped(struct sql *db, const char *zone, int64_t now_s, struct buf *out,
                             struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT id FROM device WHERE zone=$1 AND state<>'active'"
              " AND (state<>'forgotten' OR quarantine_until>$2) ORDER BY id");
    sql_bind_text(&q, 1, zone);
    sql_bind_int(&q, 2, now_s);
    while (sql_row(&q))
        buf_add_fmt(out, "%s\n", sql_text(&q, 0));
    enum err e = sql_end(&q, NULL, info);
    return e == ERR_OK ? buf_error(out) : e;
}

enum err device_each(struct sql *db, const struct device_filter *filter,
                     void (*fn)(void *arg, const struct device_row *row), void *arg,
                     struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "SELECT " COLUMNS " FROM device WHERE ($1='' OR zone=$1) AND ($2='' OR state=$2)"
              " AND ($3='' OR coalesce(flag, '')<>'') ORDER BY admitted_at DESC, id LIMIT $4");
    sql_bind_text(&q, 1, filter->zone != NULL ? filter->zone : "");
    sql_bind_text(&q, 2, filter->state != NULL ? filter->state : "");
    sql_bind_text(&q, 3, filter->flagged ? "flagged" : "");
    sql_bind_int(&q, 4, filter->limit);
    while (sql_row(&q)) {
        struct device_row row;
        read_row(&q, &row);
        fn(arg, &row);
    }
    return sql_end(&q, NULL, info);
}
