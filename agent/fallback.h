/* fallback.h - the device's own certificate, under state_dir/fallback: a key made once, so that who
 * pinned it stays content, and a self-signed certificate for the present names and addresses. It is
 * written only when it changes. Blocking file access; one thread. */
#ifndef LANYARD_AGENT_FALLBACK_H
#define LANYARD_AGENT_FALLBACK_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "agent/config.h"
#include "agent/core/localcert.h"
#include "common/base/attr.h"
#include "common/base/err.h"

/* Zero it; end with fallback_clear(). */
struct fallback {
    EVP_PKEY *key;
    X509 *cert;
    char pin[LOCALCERT_PIN_LEN + 1];
};

/* Loads key and certificate, or makes what is missing, damaged, or no longer right for the device's
 * names and addresses, or not good at `now_s` (Unix seconds); *changed tells whether the
 * certificate in *f is another than before the call. What cannot be read or written is made all the
 * same, in memory. Errors: ERR_NOMEM, ERR_CRYPTO, ERR_LIMIT; *f is then as before. */
NODISCARD enum err fallback_refresh(struct fallback *f, const struct config *c, int64_t now_s,
                                    bool *changed, struct err_info *info);

void fallback_clear(struct fallback *f);

/* Removes both from disk. */
NODISCARD enum err fallback_remove(const char *state_dir, struct err_info *info);

#endif
