/* audit.h - who did what to which device, append-only. Rows form a chain for each machine: every
 * row holds the SHA-256 of the one before it, so that a row that was changed or taken out is found
 * by audit_verify(). Blocking: store thread or admin command, inside the transaction of the act
 * itself: there is no act without its row. Never give it a secret. */
#ifndef LANYARD_PROVISIOND_STORE_AUDIT_H
#define LANYARD_PROVISIOND_STORE_AUDIT_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/pki/devid.h"
#include "provisiond/store/sql.h"

#define AUDIT_ACTOR_MAX 80
#define AUDIT_ACTION_MAX 32
#define AUDIT_DETAIL_MAX 256
#define AUDIT_HASH_LEN 32

struct audit_row {
    char chain[72]; /* the machine that wrote it */
    int64_t seq;    /* 1 and up in its chain, without gaps */
    int64_t at;
    char device_id[DEVID_LEN + 1]; /* "" when no device is meant */
    char actor[AUDIT_ACTOR_MAX];   /* "user NAME", "net PREFIX", "service" */
    char action[AUDIT_ACTION_MAX]; /* "enroll", "revoke", ... */
    char detail[AUDIT_DETAIL_MAX];
    uint8_t hash[AUDIT_HASH_LEN];
};

/* The actor of whoever came from `ip`: its network, not the address: enough to see where it was,
 * little about whom. */
void audit_name_network(char out[AUDIT_ACTOR_MAX], struct span ip);

/* Appends to this machine's chain: device_id, actor, action and detail count, the rest is filled
 * in here. */
NODISCARD enum err audit_append(struct sql *db, const struct audit_row *row, int64_t now_s,
                                struct err_info *info);

/* As audit_append(), unless the same was noted of the device within the last hour: for what a
 * device can cause again and again. */
NODISCARD enum err audit_append_rarely(struct sql *db, const struct audit_row *row, int64_t now_s,
                                       struct err_info *info);

/* Calls fn for the newest `limit` rows, oldest first; `device_id` NULL is all devices. */
NODISCARD enum err audit_each(struct sql *db, const char *device_id, int64_t limit,
                              void (*fn)(void *arg, const struct audit_row *row), void *arg,
                              struct err_info *info);

/* What audit_verify() found of one chain. */
struct audit_chain {
    char name[72];
    int64_t n_rows;
    int64_t broken_at; /* seq of the first row that does not follow from the one before it, or that
                          is missing; 0: none */
    uint8_t head[AUDIT_HASH_LEN];
};

/* Computes every chain again from its start and calls fn for each. */
NODISCARD enum err audit_verify(struct sql *db,
                                void (*fn)(void *arg, const struct audit_chain *chain), void *arg,
                                struct err_info *info);

#endif
