/* device.h - devices in the database. Blocking: store thread or admin command, inside a transaction
 * where it writes. */
#ifndef LANYARD_PROVISIOND_STORE_DEVICE_H
#define LANYARD_PROVISIOND_STORE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/pki/devid.h"
#include "provisiond/core/admission.h"
#include "provisiond/core/token.h"
#include "provisiond/store/sql.h"

enum device_state { DEVICE_ACTIVE, DEVICE_SUSPENDED, DEVICE_FORGOTTEN };

struct device_row {
    char id[DEVID_LEN + 1];
    char zone[256];
    enum device_state state;
    int64_t token_id; /* 0: admitted without one */
    int64_t admitted_at, seen_at;
    int64_t quarantine_until; /* of a forgotten one: a certificate for the id may live so long */
    char flag[64];            /* "" or why an operator should look */
};

const char *device_state_name(enum device_state s);

/* Errors: ERR_NOTFOUND. */
NODISCARD enum err device_get(struct sql *db, const char *id, struct device_row *out,
                              struct err_info *info);

/* A device that asks to be admitted, and what it brought. */
struct device_request {
    const char *id, *zone;
    uint8_t spki_sha256[SPKI_HASH_LEN]; /* of the identity key */
    bool key_blocked;                   /* the operator's list of known keys has it */
    bool listed;                        /* the zone's lists of devices let it in */
    const uint8_t *token_hash;          /* TOKEN_HASH_LEN bytes; NULL: none is needed */
    bool needs_factory;                 /* only with ... */
    const uint8_t *factory_spki_sha256; /* ... the key of a factory certificate that was checked */
};

/* Admits the device, or finds it admitted, or says why not. A token or a factory certificate is
 * used up only by a fresh admission. Writes also when it refuses: the flags of both devices that
 * share a key. *token_id receives the token's number, 0 when none was used. */
NODISCARD enum err device_admit(struct sql *db, const struct device_request *rq, int64_t now_s,
                                enum admission *out, int64_t *token_id, struct err_info *info);

/* Notes that the device was here, at most once an hour: a write for every poll would be for
 * nothing. */
NODISCARD enum err device_touch(struct sql *db, const char *id, int64_t now_s,
                                struct err_info *info);

/* Errors: ERR_NOTFOUND. Orders of a device that is no longer active are canceled; the id of one
 * that is forgotten is kept, and in quarantine until the last of its certificates ends; nobody may
 * see it from a browser any more. */
NODISCARD enum err device_set_state(struct sql *db, const char *id, enum device_state s,
                                    int64_t now_s, struct err_info *info);

/* For orders of the device that are canceled next: a certificate may come of one that was sent to
 * the CA, and nobody will know it, so the quarantine is to last. Call it in their transaction. */
NODISCARD enum err device_expect_unseen(struct sql *db, const char *id, int64_t now_s,
                                        struct err_info *info);

/* Marks the device for the operator's attention. */
NODISCARD enum err device_flag(struct sql *db, const char *id, const char *why,
                               struct err_info *info);

/* Ends the quarantine of a forgotten id: the next enrolment admits it. Errors: ERR_NOTFOUND. */
NODISCARD enum err device_release(struct sql *db, const char *id, struct err_info *info);

/* Appends to `out`, as lines in order, the ids of `zone` whose names are to end: suspended, or
 * forgotten and in quarantine. */
NODISCARD enum err device_list_stopped(struct sql *db, const char *zone, int64_t now_s,
                                       struct buf *out, struct err_info *info);

/* Which devices; NULL: of any. */
struct device_filter {
    const char *zone, *state; /* state: as device_state_name() has it */
    bool flagged;
    int64_t limit;
};

/* Calls fn for each device that the filter lets through, newest first. */
NODISCARD enum err device_each(struct sql *db, const struct device_filter *filter,
                               void (*fn)(void *arg, const struct device_row *row), void *arg,
                               struct err_info *info);

#endif
