/* order.h - orders in the database. Blocking: store thread or admin command, inside a
 * transaction where it writes. Every change carries the fence that the reader of the row saw:
 * whoever lost the order in between changes nothing and is told. */
#ifndef LANYARD_PROVISIOND_STORE_ORDER_H
#define LANYARD_PROVISIOND_STORE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/pki/devid.h"
#include "provisiond/core/order.h"
#include "provisiond/core/schedule.h"
#include "provisiond/issuer.h"
#include "provisiond/store/sql.h"

#define ORDER_HASH_LEN 32 /* bytes of SHA-256 */
#define ORDER_ARI_ID_MAX 128

/* For the SQL of this folder: what is not final, and what order_fetch() reads. */
#define ORDER_OPEN "state<>'valid' AND state<>'invalid' AND state<>'canceled'"
/* The CA has the CSR, and may issue whatever becomes of the order. Both names are of open states:
 * the index of the open ones serves. */
#define ORDER_AT_CA ORDER_OPEN " AND state IN ('finalizing', 'downloading')"
#define ORDER_COLUMNS                                                                              \
    "id, device_id, zone, issuer, state, replaces_until, csr_sha256, spki_sha256, bare_name,"      \
    " coalesce(url, ''), failures, lost, due_at, begun_at, coalesce(problem, ''),"                 \
    " coalesce(detail, ''), fence, coalesce(account, ''), lane, replaces, replaces_account, paid," \
    " account_no"

struct order_row {
    int64_t id;
    char device_id[DEVID_LEN + 1];
    char zone[256];
    char issuer[64];
    enum order_state state;
    uint8_t csr_sha256[ORDER_HASH_LEN];
    uint8_t spki_sha256[ORDER_HASH_LEN];
    bool bare_name;               /* <id>.<zone> is asked for beside the wildcard */
    char url[ISSUER_URL_MAX];     /* of the order at the CA; "" before newOrder is answered */
    char account[ISSUER_URL_MAX]; /* whose order it is at the CA, for issuers_find(); "" before */
    int64_t failures;             /* of the present step in a row */
    int64_t lost;                 /* orders lost so far at the CA */
    int64_t due_at;               /* Unix seconds of the next action */
    int64_t begun_at;             /* when the present order at the CA was begun */
    char problem[64];             /* type of the last trouble, "" when none */
    char detail[256];             /* its sentence */
    enum lane lane;
    char replaces[ORDER_ARI_ID_MAX]; /* the certificate that newOrder names, "" for none ... */
    char replaces_account[ISSUER_URL_MAX]; /* ... and the account under which it was issued */
    int64_t replaces_until;                /* ... and when it ends: then it is not named any more */
    int64_t paid;                          /* what it has taken of the CA's limits: queue.h */
    int64_t account_no; /* number of the account at the issuer that pays: set with each turn */
    int64_t fence;
};

/* What a device asks with. */
struct order_csr {
    struct span der;
    struct span rsa_modulus; /* of its key; empty for another kind */
};

enum order_submit {
    ORDER_SUBMIT_QUEUED,       /* a new order, or the one that is waiting for the same CSR */
    ORDER_SUBMIT_DONE,         /* this CSR has its certificate already */
    ORDER_SUBMIT_REUSED,       /* the key belongs to another device; both are flagged */
    ORDER_SUBMIT_INVALID,      /* this CSR was refused before */
    ORDER_SUBMIT_TOO_MANY,     /* the device asked too often */
    ORDER_SUBMIT_COMPROMISED,  /* the key was reported as compromised */
    ORDER_SUBMIT_SHARED_PRIME, /* an RSA key that anybody can factor; both devices are flagged */
    ORDER_SUBMIT_REVOKED,      /* the certificate for this CSR was revoked: send another */
};

/* Records a checked CSR of an active device: `row` gives device, zone, issuer, hashes, bare_name;
 * unless REUSED, TOO_MANY, SHARED_PRIME or COMPROMISED it becomes the whole order. A waiting order
 * for another CSR is canceled. `max_per_day` bounds new orders of a device; `policy` says where it
 * queues. */
NODISCARD enum err order_submit(struct sql *db, struct order_row *row, const struct order_csr *csr,
                                int64_t max_per_day, const struct schedule_policy *policy,
                                int64_t now_s, enum order_submit *out, struct err_info *info);

/* Appends the order's CSR (DER) to `out`. Errors: ERR_NOTFOUND. */
NODISCARD enum err order_csr(struct sql *db, int64_t id, struct buf *out, struct err_info *info);

/* The newest order of the device in `zone` that was not canceled. Errors: ERR_NOTFOUND. */
NODISCARD enum err order_latest(struct sql *db, const char *device_id, const char *zone,
                                struct order_row *out, struct err_info *info);

/* Errors: ERR_NOTFOUND. */
NODISCARD enum err order_get(struct sql *db, int64_t id, struct order_row *out,
                             struct err_info *info);

/* Who takes an order, and for how long. */
struct order_lease {
    const char *node; /* name of this node, unlike that of every other over the same database */
    int64_t claim;    /* a random number, new for each claim: finds it again */
    int64_t until;    /* Unix seconds */
};

/* Reads the one order of a statement that was begun and bound, and ends it. Errors: ERR_NOTFOUND.
 */
NODISCARD enum err order_fetch(struct sql_query *q, struct order_row *out, struct err_info *info);

/* Writes state, url, account, failures, lost, due_at, begun_at, problem, detail, replaces, paid and
 * the lease (0 gives the order up: it waits until due_at). ERR_ILLEGAL when the fence moved on: the
 * order is somebody else's, or canceled. */
NODISCARD enum err order_save(struct sql *db, const struct order_row *row, int64_t lease_until,
                              int64_t now_s, struct err_info *info);

/* Makes open orders due that were written at a later time than it is now: the clock was set back,
 * and what they wait for may be far away. Leases end at `lease_max` at the latest. */
NODISCARD enum err order_clock_back(struct sql *db, int64_t now_s, int64_t lease_max,
                                    struct err_info *info);

/* Forgets the leases of `node`, which has just been started and so holds none. Those of others
 * stay: they are alive, or end. NULL: of every node, when it is certain that none runs. */
NODISCARD enum err order_release_all(struct sql *db, const char *node, struct err_info *info);

#endif
