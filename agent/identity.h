/* identity.h - who this device is: the identity key in state_dir/identity.pem, made once and never
 * sent, the id that follows from it, and the certificate that carries it through TLS. */
#ifndef LANYARD_AGENT_IDENTITY_H
#define LANYARD_AGENT_IDENTITY_H

#include <stdbool.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/pki/devid.h"

/* Zero it; end with identity_clear(). */
struct identity {
    EVP_PKEY *key;
    X509 *cert; /* self-signed */
    struct devid id;
};

/* Loads the identity under `state_dir`; with `make` a missing one is made. Errors: ERR_NOTFOUND
 * without `make`, ERR_DENIED when the key is open to others, ERR_INVALID, ERR_IO. */
NODISCARD enum err identity_load(struct identity *out, const char *state_dir, bool make,
                                 struct err_info *info);

void identity_clear(struct identity *id);

/* Removes the key from disk. */
NODISCARD enum err identity_remove(const char *state_dir, struct err_info *info);

#endif
