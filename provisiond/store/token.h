/* token.h - enrolment tokens in the database. Blocking: store thread or admin command, inside a
 * transaction where it writes. */
#ifndef LANYARD_PROVISIOND_STORE_TOKEN_H
#define LANYARD_PROVISIOND_STORE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "provisiond/core/token.h"
#include "provisiond/store/sql.h"

#define TOKEN_LABEL_MAX 64

struct token_row {
    int64_t id;
    char zone[256];
    char label[TOKEN_LABEL_MAX];
    int64_t quota, used; /* devices */
    int64_t created_at, expires_at;
    int64_t revoked_at; /* 0: not revoked */
    int64_t held_at;    /* since when it admits nobody until it is released; 0: it is not held */
};

NODISCARD enum err token_insert(struct sql *db, const struct token_row *row,
                                const uint8_t hash[TOKEN_HASH_LEN], int64_t *id,
                                struct err_info *info);

/* Uses the token up by one device, in one conditional statement: of any number of parallel users of
 * the last use, one wins. *id receives its number. ERR_DENIED when unknown, of another zone,
 * expired, revoked, held or used up (which one is not told). */
NODISCARD enum err token_consume(struct sql *db, const uint8_t hash[TOKEN_HASH_LEN],
                                 const char *zone, int64_t now_s, int64_t *id,
                                 struct err_info *info);

/* Errors: ERR_NOTFOUND. Revoking twice is fine. */
NODISCARD enum err token_revoke(struct sql *db, int64_t id, int64_t now_s, struct err_info *info);

/* Revokes every token; *n receives how many were not yet. */
NODISCARD enum err token_revoke_all(struct sql *db, int64_t now_s, int64_t *n,
                                    struct err_info *info);

/* Holds every token that is not revoked, until token_release(); *n receives how many were not
 * held. */
NODISCARD enum err token_hold_all(struct sql *db, int64_t now_s, int64_t *n, struct err_info *info);

/* Lets a held token admit devices again, or all of them with id 0; *n receives how many were held.
 */
NODISCARD enum err token_release(struct sql *db, int64_t id, int64_t *n, struct err_info *info);

/* Calls fn for each token, oldest first. */
NODISCARD enum err token_each(struct sql *db, void (*fn)(void *arg, const struct token_row *row),
                              void *arg, struct err_info *info);

#endif
