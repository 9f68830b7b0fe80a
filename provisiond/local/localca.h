/* localca.h - a private certificate authority in a folder: a root and an intermediate, EC P-256,
 * made on first use. For the quickstart, closed networks, and provisiond's own listener.
 *
 * The folder holds root.key, root.pem, intermediate.key and intermediate.pem. Each file appears
 * whole, and each can be made from those before it, so that a kill between any two, or two
 * processes that start at once, lead to the same authority. Certificates are renewed with the same
 * key and name at half of their life: a root that was installed somewhere stays good to its end.
 * Blocking file access; any thread, one at a time per handle. */
#ifndef LANYARD_PROVISIOND_LOCAL_LOCALCA_H
#define LANYARD_PROVISIOND_LOCAL_LOCALCA_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

struct localca; /* opaque */

/* Opens the authority in `dir` (copied; made with mode 0700 when missing, its parent must be
 * there), and makes or renews at `now_s` what is missing or past half of its life.
 * Errors: those of files, ERR_INVALID for a file that is no key or certificate, ERR_CRYPTO when a
 * certificate does not belong to its key, ERR_NOMEM. */
NODISCARD enum err localca_open(struct localca **out, const char *dir, int64_t now_s,
                                struct err_info *info);

void localca_free(struct localca *ca);

/* Where the root certificate is, for those who are to trust it. Borrowed. */
const char *localca_root_path(const struct localca *ca);

/* The folder. Borrowed. */
const char *localca_dir(const struct localca *ca);

/* What it signs with. Borrowed until the next call into the handle. */
X509 *localca_signer(const struct localca *ca);
EVP_PKEY *localca_signing_key(const struct localca *ca);

/* What a leaf is to be for: 1 or more names, DNS names or IP addresses as text. */
struct localca_leaf {
    const char *const *names;
    size_t n_names;
    int64_t now_s;       /* valid from five minutes before */
    int64_t life_s;      /* cut where the intermediate ends */
    const char *crl_url; /* named as where its revocation list is; NULL: nowhere */
};

/* Issues a server certificate for `key` (only its public half is looked at) and appends leaf and
 * intermediate as PEM. Errors: ERR_INVALID for a name that is none, ERR_CRYPTO, ERR_NOMEM, those of
 * files when the intermediate had to be renewed. */
NODISCARD enum err localca_issue(struct localca *ca, EVP_PKEY *key, const struct localca_leaf *leaf,
                                 struct buf *pem, struct err_info *info);

/* A fresh P-256 key, in memory only, and a chain for it (leaf first), for a server of our own. The
 * caller frees both: EVP_PKEY_free(), sk_X509_pop_free(chain, X509_free). Errors as above. */
NODISCARD enum err localca_server_cert(struct localca *ca, const struct localca_leaf *leaf,
                                       EVP_PKEY **key, STACK_OF(X509) * *chain,
                                       struct err_info *info);

#endif
