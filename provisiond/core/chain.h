/* chain.h - the check of a certificate that came back from a CA, before any device gets it: right
 * key, right names, valid now, and a chain that holds together. Whether the root is trusted is not
 * decided here: the CA was chosen by the operator. Pure; any thread. */
#ifndef LANYARD_PROVISIOND_CORE_CHAIN_H
#define LANYARD_PROVISIOND_CORE_CHAIN_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/pki/devid.h"

#define CHAIN_SERIAL_MAX 41 /* lower-case hexadecimal of 20 bytes and a NUL */
#define CHAIN_ARI_ID_MAX 80 /* longer ids are left out */

/* What came above the leaf the last time: the same for thousands of leaves of a CA, and to read a
 * certificate costs more than to check all signatures of the chain. Begins as zeroes. */
struct chain_above {
    STACK_OF(X509) * certs; /* NULL: nothing is kept */
    struct buf pem;         /* the text they were read from; where certs is not NULL */
};

void chain_above_clear(struct chain_above *above);

struct chain_expect {
    const uint8_t *spki_sha256; /* SPKI_HASH_LEN bytes: of the key in the request */
    const char *const *names;   /* exactly these dNSNames, in any order and case */
    size_t n_names;
    int64_t now_s;
    struct chain_above *above; /* read and changed; one for each CA */
};

struct chain_facts {
    struct buf pem; /* the chain again, leaf first, nothing but certificates; buf_clear() it */
    size_t n_certs;
    char serial[CHAIN_SERIAL_MAX];
    int64_t not_before_s, not_after_s; /* of the leaf */
    char ari_id[CHAIN_ARI_ID_MAX]; /* base64url(AKI) "." base64url(serial) [RFC 9773 s4.1]; "" when
                                      the leaf has no authority key identifier */
};

/* Checks `pem`, leaf first. The clock of the CA may be up to an hour ahead of ours.
 * Errors: ERR_INVALID (no PEM chain), ERR_LIMIT (too large, too many), ERR_RANGE (names, dates or
 * use), ERR_CRYPTO (another key, a signature that does not hold, a link that is missing or does not
 * belong), ERR_NOMEM. All but the last mean that this certificate must not be used. */
NODISCARD enum err chain_check(struct span pem, const struct chain_expect *expect,
                               struct chain_facts *out, struct err_info *info);

#endif
