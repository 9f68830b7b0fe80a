/* certstore.h - keys and certificates on disk, so that a power cut at any moment leaves the old set
 * or the new one, whole, and never a mix:
 *     generations/<n>/   one set in all forms (forms.h); written aside, synced, then named
 *     current            symbolic link to the set in use, replaced by one rename
 *     pending/           key and CSR of the certificate that is on its way
 * Blocking file access; one thread. */
#ifndef LANYARD_AGENT_CERTSTORE_H
#define LANYARD_AGENT_CERTSTORE_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "agent/access.h"
#include "agent/forms.h"
#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

#define CERTSTORE_KEEP 2 /* generations kept behind the current one */

/* One certificate set in memory. Zero it; end with certset_clear(). */
struct certset {
    unsigned generation;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* leaf first */
    int64_t not_before_s, not_after_s;
    char name[256];  /* its first DNS name; "" when there is none */
    char serial[48]; /* hexadecimal */
    char issuer[256];
};

void certset_clear(struct certset *set);

/* Makes what is missing under `state_dir` and removes what a crash left half done; everything that
 * `current` and `pending` need stays. */
NODISCARD enum err certstore_prepare(const char *state_dir, struct err_info *info);

/* Reads the current set; *out (zeroed before) is the caller's. Errors: ERR_NOTFOUND when there is
 * none, ERR_INVALID or ERR_CRYPTO when it is damaged, ERR_DENIED when its key is open to more than
 * `access` says. */
NODISCARD enum err certstore_current(const char *state_dir, const struct access *access,
                                     struct certset *out, struct err_info *info);

/* Writes `key` and `chain` as a new generation, makes it current and drops old generations. On an
 * error the old set is still current. Errors: ERR_IO and the like; ERR_CRYPTO, ERR_NOMEM. */
NODISCARD enum err certstore_install(const char *state_dir, EVP_PKEY *key, STACK_OF(X509) * chain,
                                     const struct forms_bundle *bundle, const struct access *access,
                                     struct err_info *info);

/* Whether the key of the current set can be read by somebody who may not, by `access`: it was more
 * open until now, by the configuration or by somebody's hand. */
bool certstore_is_exposed(const char *state_dir, const struct access *access);

/* Brings the current set, and the folders above it, into line with `access`; what is more open than
 * that in the sets behind it is closed. What is as it should be is not touched. The state folder
 * itself stays as open as it is. Errors: ERR_DENIED, ERR_IO; all that can be closed is. */
NODISCARD enum err certstore_set_access(const char *state_dir, const struct access *access,
                                        struct err_info *info);

/* Stores key and CSR before anything is sent, in place of any earlier ones. */
NODISCARD enum err certstore_pending_put(const char *state_dir, EVP_PKEY *key, struct span csr_pem,
                                         struct err_info *info);

/* Reads them: the caller frees *key; the CSR is appended to `csr_pem`. Errors: ERR_NOTFOUND,
 * ERR_INVALID for a key that does not load, ERR_LIMIT. */
NODISCARD enum err certstore_pending_get(const char *state_dir, EVP_PKEY **key, struct buf *csr_pem,
                                         struct err_info *info);

NODISCARD enum err certstore_pending_drop(const char *state_dir, struct err_info *info);

/* Removes pending key, current link and all generations. */
NODISCARD enum err certstore_wipe(const char *state_dir, struct err_info *info);

#endif
