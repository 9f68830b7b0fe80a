#include "provisiond/store/audit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/base/buf.h"
#include "provisiond/core/admission.h"

#define RARELY_S 3600
#define COLUMNS "chain, seq, at, device_id, actor, action, detail, hash"

static const uint8_t START[AUDIT_HASH_LEN]; /* what the first row follows */

void audit_name_network(char out[AUDIT_ACTOR_MAX], struct span ip)
{
    char text[INET6_ADDRSTRLEN] = "";
    uint8_t whole[16] = { 0 };
    uint8_t prefix[8];
    size_t n = admission_prefix(ip, ADMISSION_NET_WIDE, prefix);
    memcpy(whole, prefix, n);
    (void)inet_ntop(n == 3 ? AF_INET : AF_INET6, whole, text, sizeof text);
    (void)snprintf(out, AUDIT_ACTOR_MAX, "net %s/%d", text, n == 3 ? 24 : 48);
}

static void add_number(struct buf *b, int64_t v)
{
    uint8_t be[8];
    for (unsigned i = 0; i < 8; i++)
        be[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
    buf_add(b, be, sizeof be);
}

/* With its length before it, no two rows come to the same bytes. */
static void add_text(struct buf *b, const char *text)
{
    add_number(b, (int64_t)strlen(text));
    buf_add_str(b, text);
}

static enum err hash_row(const struct audit_row *row, const uint8_t prev[AUDIT_HASH_LEN],
                         uint8_t out[AUDIT_HASH_LEN])
{
    struct buf b;
    buf_init(&b, 4096);
    buf_add(&b, prev, AUDIT_HASH_LEN);
    add_text(&b, row->chain);
    add_number(&b, row->seq);
    add_number(&b, row->at);
    add_text(&b, row->device_id);
    add_text(&b, row->actor);
    add_text(&b, row->action);
    add_text(&b, row->detail);
    enum err e = buf_error(&b);
    if (e == ERR_OK && EVP_Digest(b.p, b.len, out, NULL, EVP_sha256(), NULL) != 1)
        e = ERR_CRYPTO;
    buf_clear(&b);
    return e;
}

/* The next number of the chain and the hash to follow. The update holds the head's row to the end
 * of the transaction: on PostgreSQL, where writers are many, that is what keeps a chain straight.
 */
static enum err take_head(struct sql *db, const char *chain, int64_t *seq,
                          uint8_t prev[AUDIT_HASH_LEN], struct err_info *info)
{
    struct sql_query q;
    *seq = 0;
    sql_begin(&q, db, "UPDATE audit_head SET seq=seq+1 WHERE chain=$1 RETURNING seq, hash");
    sql_bind_text(&q, 1, chain);
    while (sql_row(&q)) {
        struct span hash = sql_blob(&q, 1);
        *seq = sql_int(&q, 0);
        if (hash.len == AUDIT_HASH_LEN)
            memcpy(prev, hash.p, AUDIT_HASH_LEN);
    }
    return sql_end(&q, NULL, info);
}

static enum err make_head(struct sql *db, const char *chain, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO audit_head (chain, seq, hash) VALUES ($1, 0, $2)"
              " ON CONFLICT (chain) DO NOTHING");
    sql_bind_text(&q, 1, chain);
    sql_bind_blob(&q, 2, (struct span){ START, sizeof START });
    return sql_end(&q, NULL, info);
}

static enum err put_head(struct sql *db, const struct audit_row *row, struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db, "UPDATE audit_head SET hash=$1 WHERE chain=$2");
    sql_bind_blob(&q, 1, (struct span){ row->hash, AUDIT_HASH_LEN });
    sql_bind_text(&q, 2, row->chain);
    return sql_end(&q, NULL, info);
}

static enum err insert(struct sql *db, const struct audit_row *row,
                       const uint8_t prev[AUDIT_HASH_LEN], struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              "INSERT INTO audit (chain, seq, at, device_id, actor, action, detail, prev, hash)"
              " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    sql_bind_text(&q, 1, row->chain);
    sql_bind_int(&q, 2, row->seq);
    sql_bind_int(&q, 3, row->at);
    sql_bind_text(&q, 4, row->device_id);
    sql_bind_text(&q, 5, row->actor);
    sql_bind_text(&q, 6, row->action);
    sql_bind_text(&q, 7, row->detail);
    sql_bind_blob(&q, 8, (struct span){ prev, AUDIT_HASH_LEN });
    sql_bind_blob(&q, 9, (struct span){ row->hash, AUDIT_HASH_LEN });
    return sql_end(&q, NULL, info);
}

enum err audit_append(struct sql *db, const struct audit_row *what, int64_t now_s,
                      struct err_info *info)
{
    struct audit_row row = *what;
    uint8_t prev[AUDIT_HASH_LEN] = { 0 };
    if (gethostname(row.chain, sizeof row.chain) != 0)
        (void)snprintf(row.chain, sizeof row.chain, "unnamed");
    row.chain[sizeof row.chain - 1] = 0;
    row.at = now_s;
    enum err e = take_head(db, row.chain, &row.seq, prev, info);
    if (e == ERR_OK && row.seq == 0) {
        e = make_head(db, row.chain, info);
        if (e == ERR_OK)
            e = take_head(db, row.chain, &row.seq, prev, info);
    }
    if (e == ERR_OK && hash_row(&row, prev, row.hash) != ERR_OK)
        e = err_set(info, ERR_NOMEM, "out of memory");
    if (e == ERR_OK)
        e = insert(db, &row, prev, info);
    return e == ERR_OK ? put_head(db, &row, info) : e;
}

enum err audit_append_rarely(struct sql *db, const struct audit_row *row, int64_t now_s,
                             struct err_info *info)
{
    struct sql_query q;
    bool noted = false;
    sql_begin(&q, db, "SELECT 1 FROM audit WHERE device_id=$1 AND action=$2 AND at>$3 LIMIT 1");
    sql_bind_text(&q, 1, row->device_id);
    sql_bind_text(&q, 2, row->action);
    sql_bind_int(&q, 3, now_s - RARELY_S);
    while (sql_row(&q))
        noted = true;
    enum err e = sql_end(&q, NULL, info);
    return e == ERR_OK && !noted ? audit_append(db, row, now_s, info) : e;
}

static void read_row(struct sql_query *q, struct audit_row *row)
{
    *row = (struct audit_row){ .seq = sql_int(q, 1), .at = sql_int(q, 2) };
    sql_copy(q, 0, row->chain, sizeof row->chain);
    sql_copy(q, 3, row->device_id, sizeof row->device_id);
    sql_copy(q, 4, row->actor, sizeof row->actor);
    sql_copy(q, 5, row->action, sizeof row->action);
    sql_copy(q, 6, row->detail, sizeof row->detail);
    struct span hash = sql_blob(q, 7);
    if (hash.len == sizeof row->hash)
        memcpy(row->hash, hash.p, hash.len);
}

enum err audit_each(struct sql *db, const char *device_id, int64_t limit,
                    void (*fn)(void *arg, const struct audit_row *row), void *arg,
                    struct err_info *info)
{
    struct sql_query q;
    sql_begin(&q, db,
              device_id != NULL ? "SELECT " COLUMNS " FROM (SELECT " COLUMNS
                                  " FROM audit WHERE device_id=$2"
                                  " ORDER BY at DESC, chain DESC, seq DESC LIMIT $1) AS newest"
                                  " ORDER BY at, chain, seq"
                                : "SELECT " COLUMNS " FROM (SELECT " COLUMNS " FROM audit"
                                  " ORDER BY at DESC, chain DESC, seq DESC LIMIT $1) AS newest"
                                  " ORDER BY at, chain, seq");
    sql_bind_int(&q, 1, limit);
    if (device_id != NULL)
        sql_bind_text(&q, 2, device_id);
    while (sql_row(&q)) {
        struct audit_row row;
        read_row(&q, &row);
        fn(arg, &row);
    }
    return sql_end(&q, NULL, info);
}

/* --- verification --- */

static void check_row(struct audit_chain *c, const struct audit_row *row)
{
    uint8_t want[AUDIT_HASH_LEN];
    if (c->broken_at == 0 && (row->seq != c->n_rows + 1 || hash_row(row, c->head, want) != ERR_OK ||
                              memcmp(want, row->hash, sizeof want) != 0))
        c->broken_at = c->n_rows + 1;
    c->n_rows++;
    memcpy(c->head, row->hash, sizeof c->head);
}

static enum err verify_chain(struct sql *db, struct audit_chain *c, int64_t head_seq,
                             const uint8_t head[AUDIT_HASH_LEN], struct err_info *info)
{
    struct sql_query q;
    struct audit_row row;
    sql_begin(&q, db, "SELECT " COLUMNS " FROM audit WHERE chain=$1 ORDER BY seq");
    sql_bind_text(&q, 1, c->name);
    while (sql_row(&q)) {
        read_row(&q, &row);
        check_row(c, &row);
    }
    /* rows taken off the end */
    if (c->broken_at == 0 &&
        (c->n_rows != head_seq || (head_seq > 0 && memcmp(c->head, head, sizeof c->head) != 0)))
        c->broken_at = c->n_rows + 1;
    return sql_end(&q, NULL, info);
}

/* The first chain whose name comes after `after`; ERR_NOTFOUND at the end. */
static enum err next_head(struct sql *db, const char *after, struct audit_chain *c, int64_t *seq,
                          uint8_t head[AUDIT_HASH_LEN], struct err_info *info)
{
    struct sql_query q;
    bool found = false;
    sql_begin(&q, db,
              "SELECT chain, seq, hash FROM audit_head WHERE chain>$1 ORDER BY chain LIMIT 1");
    sql_bind_text(&q, 1, after);
    while (sql_row(&q)) {
        struct span hash = sql_blob(&q, 2);
        sql_copy(&q, 0, c->name, sizeof c->name);
        *seq = sql_int(&q, 1);
        memset(head, 0, AUDIT_HASH_LEN);
        if (hash.len == AUDIT_HASH_LEN)
            memcpy(head, hash.p, hash.len);
        found = true;
    }
    enum err e = sql_end(&q, NULL, info);
    return e == ERR_OK && !found ? ERR_NOTFOUND : e;
}

enum err audit_verify(struct sql *db, void (*fn)(void *arg, const struct audit_chain *chain),
                      void *arg, struct err_info *info)
{
    char after[sizeof((struct audit_chain *)NULL)->name] = "";
    for (;;) {
        struct audit_chain c = { .name = "" };
        uint8_t head[AUDIT_HASH_LEN];
        int64_t seq = 0;
        enum err e = next_head(db, after, &c, &seq, head, info);
        if (e == ERR_NOTFOUND)
            return ERR_OK;
        if (e == ERR_OK)
            e = verify_chain(db, &c, seq, head, info);
        if (e != ERR_OK)
            return e;
        fn(arg, &c);
        memcpy(after, c.name, sizeof after);
    }
}
