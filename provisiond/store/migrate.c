#include "provisiond/store/migrate.h"

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/clock.h"
#include "provisiond/store/sql.h"

static const char *const STEPS[] = {
    /* 1: devices, tokens, keys ever seen, orders, certificates */
    "CREATE TABLE token ("
    " id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, zone TEXT NOT NULL, label TEXT NOT NULL,"
    " quota INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL,"
    " expires_at INTEGER NOT NULL, revoked_at INTEGER);"
    "CREATE TABLE device ("
    " id TEXT PRIMARY KEY, zone TEXT NOT NULL, state TEXT NOT NULL, token_id INTEGER,"
    " admitted_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, flag TEXT);"
    "CREATE TABLE cert_key ("
    " spki_sha256 BLOB PRIMARY KEY, device_id TEXT NOT NULL, seen_at INTEGER NOT NULL);"
    "CREATE TABLE cert_order ("
    " id INTEGER PRIMARY KEY, device_id TEXT NOT NULL, zone TEXT NOT NULL, issuer TEXT NOT NULL,"
    " state TEXT NOT NULL, csr BLOB NOT NULL, csr_sha256 BLOB NOT NULL, spki_sha256 BLOB NOT NULL,"
    " bare_name INTEGER NOT NULL, url TEXT, failures INTEGER NOT NULL DEFAULT 0,"
    " lost INTEGER NOT NULL DEFAULT 0, due_at INTEGER NOT NULL, begun_at INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, problem TEXT, detail TEXT,"
    " fence INTEGER NOT NULL DEFAULT 0, lease_until INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX cert_order_device ON cert_order (device_id, id);"
    "CREATE INDEX cert_order_due ON cert_order (due_at)"
    " WHERE state NOT IN ('valid', 'invalid', 'canceled');"
    /* one order at a time for an id, by the database's own word */
    "CREATE UNIQUE INDEX cert_order_open ON cert_order (device_id, zone)"
    " WHERE state NOT IN ('valid', 'invalid', 'canceled');"
    "CREATE TABLE certificate ("
    " id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL UNIQUE, device_id TEXT NOT NULL,"
    " zone TEXT NOT NULL, issuer TEXT NOT NULL, serial TEXT NOT NULL, csr_sha256 BLOB NOT NULL,"
    " spki_sha256 BLOB NOT NULL, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,"
    " issued_at INTEGER NOT NULL, ari_id TEXT NOT NULL, chain TEXT NOT NULL);"
    "CREATE INDEX certificate_device ON certificate (device_id, id);",
    /* 2: which node holds an order, and by which claim */
    ("ALTER TABLE cert_order ADD COLUMN lease_by TEXT;"
     "ALTER TABLE cert_order ADD COLUMN claim INTEGER;"),
    /* 3: the processes that work on this database */
    "CREATE TABLE node (name TEXT PRIMARY KEY, version TEXT NOT NULL, seen_at INTEGER NOT NULL);",
    /* 4: under which account at the CA */
    ("ALTER TABLE cert_order ADD COLUMN account TEXT;"
     "ALTER TABLE certificate ADD COLUMN account TEXT;"),
    /* 5: audit, revocation, keys of factories and keys that are known to others, quarantine */
    ("CREATE TABLE audit ("
     " chain TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, device_id TEXT NOT NULL,"
     " actor TEXT NOT NULL, action TEXT NOT NULL, detail TEXT NOT NULL, prev BLOB NOT NULL,"
     " hash BLOB NOT NULL, PRIMARY KEY (chain, seq));"
     "CREATE INDEX audit_device ON audit (device_id, at);"
     "CREATE INDEX audit_at ON audit (at);"
     "CREATE TABLE audit_head (chain TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL);"
     "CREATE TABLE blocked_key ("
     " spki_sha256 BLOB PRIMARY KEY, device_id TEXT NOT NULL, blocked_at INTEGER NOT NULL);"
     "CREATE TABLE factory_key ("
     " spki_sha256 BLOB PRIMARY KEY, device_id TEXT NOT NULL, seen_at INTEGER NOT NULL);"
     "CREATE TABLE revocation ("
     " order_id INTEGER PRIMARY KEY, device_id TEXT NOT NULL, reason INTEGER NOT NULL,"
     " state TEXT NOT NULL, due_at INTEGER NOT NULL, failures INTEGER NOT NULL,"
     " problem TEXT, requested_at INTEGER NOT NULL, ended_at INTEGER);"
     "CREATE INDEX revocation_due ON revocation (due_at) WHERE state='pending';"
     "ALTER TABLE device ADD COLUMN quarantine_until INTEGER NOT NULL DEFAULT 0;"
     "CREATE INDEX certificate_zone ON certificate (zone, id);"
     "CREATE INDEX device_not_active ON device (zone) WHERE state<>'active';"),
    /* 6: lanes, what the CA's limits have left, the certificate that each device has now */
    ("ALTER TABLE cert_order ADD COLUMN lane INTEGER NOT NULL DEFAULT 2;"
     "ALTER TABLE cert_order ADD COLUMN deadline_at INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE cert_order ADD COLUMN pays INTEGER NOT NULL DEFAULT 1;"
     "ALTER TABLE cert_order ADD COLUMN paid INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE cert_order ADD COLUMN replaces TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE cert_order ADD COLUMN replaces_account TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE cert_order ADD COLUMN replaces_until INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE cert_order ADD COLUMN exempt_from INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE cert_order ADD COLUMN exempt_until INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE cert_order ADD COLUMN failover_at INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE cert_order ADD COLUMN wake_at INTEGER NOT NULL DEFAULT 0;"
     "UPDATE cert_order SET deadline_at=created_at, wake_at="
     "CASE WHEN lease_until>0 THEN lease_until ELSE due_at END"
     " WHERE state NOT IN ('valid', 'invalid', 'canceled');"
     "DROP INDEX cert_order_due;"
     "CREATE INDEX cert_order_wake ON cert_order (wake_at)"
     " WHERE state NOT IN ('valid', 'invalid', 'canceled') AND wake_at>0;"
     "CREATE INDEX cert_order_lane ON cert_order (issuer, zone, pays, lane, deadline_at, id)"
     " WHERE state='queued' AND wake_at=0;"
     "CREATE INDEX cert_order_resume ON cert_order (issuer, due_at)"
     " WHERE wake_at=0 AND state NOT IN ('queued', 'valid', 'invalid', 'canceled');"
     "CREATE INDEX cert_order_failover ON cert_order (issuer, zone, failover_at)"
     " WHERE state='queued' AND failover_at>0;"
     "CREATE TABLE bucket ("
     " issuer TEXT NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL, tat_us INTEGER NOT NULL,"
     " PRIMARY KEY (issuer, kind, name));"
     "CREATE INDEX bucket_full ON bucket (tat_us);"
     "CREATE TABLE current_cert ("
     " device_id TEXT NOT NULL, zone TEXT NOT NULL, order_id INTEGER NOT NULL,"
     " issuer TEXT NOT NULL, account TEXT NOT NULL, ari_id TEXT NOT NULL,"
     " not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, window_start INTEGER NOT NULL,"
     " window_end INTEGER NOT NULL, chosen_at INTEGER NOT NULL, poll_at INTEGER NOT NULL,"
     " failures INTEGER NOT NULL, explanation TEXT NOT NULL, sentinel INTEGER NOT NULL,"
     " PRIMARY KEY (device_id, zone));"
     "CREATE INDEX current_cert_poll ON current_cert (issuer, sentinel, poll_at) WHERE poll_at>0;"
     "CREATE INDEX current_cert_cohort ON current_cert (issuer, not_before);"
     /* the last one that each device got: asked about, by lifetime until the CA has answered */
     "INSERT INTO current_cert SELECT device_id, zone, order_id, issuer, coalesce(account, ''), "
     "ari_id, not_before,"
     " not_after, 0, 0, not_before + (not_after - not_before) / 3 * 2, issued_at, 0, '', 0"
     " FROM certificate WHERE id IN (SELECT max(id) FROM certificate GROUP BY device_id, zone);"),
    /* 7: what devices say about themselves, and where they were seen */
    ("CREATE TABLE report ("
     " device TEXT PRIMARY KEY, at INTEGER NOT NULL, name TEXT NOT NULL, nearby INTEGER NOT NULL,"
     " body TEXT NOT NULL);"
     "CREATE INDEX report_at ON report (at);"
     "CREATE TABLE observed ("
     " device TEXT NOT NULL, family INTEGER NOT NULL, address TEXT NOT NULL,"
     " network TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (device, family));"
     "CREATE INDEX observed_network ON observed (network);"
     "CREATE INDEX observed_at ON observed (at);"),
    /* 8: which of an issuer's accounts pays for an order */
    "ALTER TABLE cert_order ADD COLUMN account_no INTEGER NOT NULL DEFAULT 0;",
    /* 9: pairing codes and the wrong ones tried, who may see a device */
    ("CREATE TABLE pairing_code ("
     " device_id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, expires_at INTEGER NOT NULL);"
     "CREATE INDEX pairing_code_end ON pairing_code (expires_at);"
     "CREATE TABLE pairing_guess (day INTEGER PRIMARY KEY, units INTEGER NOT NULL);"
     "CREATE TABLE viewer ("
     " hash BLOB NOT NULL, device_id TEXT NOT NULL, kind INTEGER NOT NULL,"
     " created_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, PRIMARY KEY (hash, device_id));"
     "CREATE INDEX viewer_device ON viewer (device_id);"),
    /* 10: RSA moduli seen lately */
    ("CREATE TABLE rsa_modulus ("
     " id INTEGER PRIMARY KEY, zone TEXT NOT NULL, device_id TEXT NOT NULL, modulus BLOB NOT NULL,"
     " seen_at INTEGER NOT NULL);"
     "CREATE INDEX rsa_modulus_zone ON rsa_modulus (zone, id);"),
    /* 11: the same indexes with conditions for which SQLite makes no passing table, as it does for
     * a list of three, each time that an order is written */
    ("DROP INDEX cert_order_open;"
     "DROP INDEX cert_order_wake;"
     "DROP INDEX cert_order_resume;"
     "CREATE UNIQUE INDEX cert_order_open ON cert_order (device_id, zone)"
     " WHERE state<>'valid' AND state<>'invalid' AND state<>'canceled';"
     "CREATE INDEX cert_order_wake ON cert_order (wake_at)"
     " WHERE state<>'valid' AND state<>'invalid' AND state<>'canceled' AND wake_at>0;"
     "CREATE INDEX cert_order_resume ON cert_order (issuer, due_at)"
     " WHERE wake_at=0 AND state<>'queued' AND state<>'valid' AND state<>'invalid'"
     " AND state<>'canceled';"),
    /* 12: tokens that wait for the operator after a restore */
    "ALTER TABLE token ADD COLUMN held_at INTEGER;",
};

int migrate_latest(void)
{
    return (int)ARRAY_LEN(STEPS);
}

static enum err present(struct sql *db, int64_t *out, struct err_info *info)
{
    struct sql_query q;
    int64_t version = 0;
    sql_begin(&q, db, "SELECT coalesce(max(version), 0) FROM schema_version");
    while (sql_row(&q))
        version = sql_int(&q, 0);
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK)
        *out = version;
    return e;
}

/* The version is read under a lock: of two programs that start at once one migrates, the other
 * waits and finds it done. */
static enum err step(struct sql *db, int64_t *version, struct err_info *info)
{
    enum err e = sql_begin_tx(db, info);
    if (e != ERR_OK)
        return e;
    e = sql_lock_schema(db, info);
    if (e == ERR_OK)
        e = present(db, version, info);
    if (e == ERR_OK && *version < migrate_latest()) {
        e = sql_script(db, STEPS[*version], info);
        if (e != ERR_OK)
            e = err_prefix(info, e,
                           "cannot bring the tables from schema %lld to %d (in PostgreSQL: run "
                           "'lanyard-provisiond -c FILE migrate' as their owner): ",
                           (long long)*version, migrate_latest());
        if (e == ERR_OK) {
            struct sql_query q;
            sql_begin(&q, db, "INSERT INTO schema_version (version, applied_at) VALUES ($1, $2)");
            sql_bind_int(&q, 1, *version + 1);
            sql_bind_int(&q, 2, clock_now_s());
            e = sql_end(&q, NULL, info);
        }
        if (e == ERR_OK)
            ++*version;
    }
    if (e != ERR_OK) {
        sql_rollback(db);
        return e;
    }
    return sql_commit(db, info);
}

/* Looked for first: whoever may not make tables can still use them. */
static enum err ensure_version_table(struct sql *db, struct err_info *info)
{
    bool there = false;
    enum err e = sql_has_table(db, "schema_version", &there, info);
    if (e != ERR_OK || there)
        return e;
    e = sql_script(db,
                   "CREATE TABLE IF NOT EXISTS schema_version"
                   " (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)",
                   info);
    if (e == ERR_OK)
        return e;
    /* another program may have made it at this moment */
    enum err e2 = sql_has_table(db, "schema_version", &there, NULL);
    return e2 == ERR_OK && there ? ERR_OK : e;
}

enum err migrate_up(struct sql *db, struct err_info *info)
{
    int64_t version = -1;
    enum err e = ensure_version_table(db, info);
    if (e == ERR_OK)
        e = present(db, &version, info);
    while (e == ERR_OK && version < migrate_latest())
        e = step(db, &version, info);
    if (e == ERR_OK && version > migrate_latest())
        e = err_set(info, ERR_CONFIG,
                    "the database has schema %lld, this program knows %d: use the newer program",
                    (long long)version, migrate_latest());
    return e;
}
