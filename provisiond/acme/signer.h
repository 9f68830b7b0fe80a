/* signer.h - the account key: the only place that has it. Signs ACME requests and nothing else, and
 * changes the key without ever being without the one that the CA knows: the new key is in
 * "<path>.next" before the CA hears of it, and takes the old one's place when the CA has agreed.
 * One thread; file access is blocking, at start and at a change. */
#ifndef LANYARD_PROVISIOND_ACME_SIGNER_H
#define LANYARD_PROVISIOND_ACME_SIGNER_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "provisiond/acme/jws.h"

struct signer; /* opaque */

enum signer_key {
    SIGNER_PRESENT,
    SIGNER_NEXT, /* the one that waits in "<path>.next" */
};

/* The key at `path` (copied), made there (EC P-256, mode 0600) when missing. On success *out is the
 * caller's: signer_free(). Errors: those of key_load_or_make(), ERR_CONFIG for a kind of key that
 * ACME has no algorithm for. */
NODISCARD enum err signer_open(struct signer **out, const char *path, struct err_info *info);
void signer_free(struct signer *s);

/* Of the present key. Borrowed until the key changes. */
const char *signer_thumbprint(const struct signer *s);

/* Grows with every change of the key: a request signed by an older one is worth another try. */
unsigned signer_generation(const struct signer *s);

/* Appends the request body. Errors: as jws_sign(); ERR_ILLEGAL when there is no next key. */
NODISCARD enum err signer_sign(struct signer *s, enum signer_key which,
                               const struct jws_header *header, struct span payload,
                               struct buf *out);

/* Appends the JWK of the present key, or its external account binding. Errors: as jws_jwk() and
 * jws_bind(). */
NODISCARD enum err signer_jwk(struct signer *s, struct buf *out);
NODISCARD enum err signer_bind(struct signer *s, const char *new_account_url, const char *kid,
                               struct span mac_key, struct buf *out);

/* Looks at the files again: another process may have changed the key, or begun to. Whether the
 * present key is another now. */
bool signer_refresh(struct signer *s);

/* Whether a change was begun, in this process or in one that is dead, and not ended. */
bool signer_has_next(const struct signer *s);

/* Begins a change: makes the next key, durably, unless there is one already.
 * Errors: those of files, ERR_CRYPTO. */
NODISCARD enum err signer_make_next(struct signer *s, struct err_info *info);

/* Ends the change: the next key becomes the present one, or is forgotten. */
NODISCARD enum err signer_promote_next(struct signer *s, struct err_info *info);
void signer_discard_next(struct signer *s);

#endif
