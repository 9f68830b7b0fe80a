/* issuers.h - the issuers of a configuration, opened: each has one account or several, each account
 * is a struct issuer. Which account a new order goes to is decided where it is paid for (queue.h);
 * what an account has begun or issued stays with it, by the account's URL. One loop, its thread. */
#ifndef LANYARD_PROVISIOND_ISSUERS_H
#define LANYARD_PROVISIOND_ISSUERS_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/config.h"
#include "provisiond/issuer.h"
#include "provisiond/local/localca.h"

struct issuers; /* opaque */

/* Opens all issuers of `c`, which is borrowed. Makes keys and local CAs that are missing; sends
 * nothing. On success *out is the caller's: issuers_free(), which ends what is under way without
 * callbacks. Errors: ERR_CONFIG and others, "FILE:LINE: ..." in info. */
NODISCARD enum err issuers_open(struct issuers **out, struct loop *l, const struct config *c,
                                struct err_info *info);
void issuers_free(struct issuers *s);

/* Accounts of issuer `index` of the configuration: 1..CONFIG_ACCOUNTS_MAX. */
size_t issuers_n_accounts(const struct issuers *s, size_t index);

/* Account `k` of it. Borrowed. */
struct issuer *issuers_account(const struct issuers *s, size_t index, size_t k);

/* The account with this URL; where none has it (its key was lost, or it is not configured any more)
 * or it is "", account `otherwise` (modulo their number). Borrowed. */
struct issuer *issuers_find(const struct issuers *s, size_t index, const char *account,
                            size_t otherwise);

/* The local CA that issuer `index` is; NULL for any other. Borrowed. */
struct localca *issuers_ca(const struct issuers *s, size_t index);

/* The first local CA, for a certificate of our own; NULL when there is none. Borrowed. */
struct localca *issuers_local_ca(const struct issuers *s);

#endif
