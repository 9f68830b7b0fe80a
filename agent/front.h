/* front.h - which certificate a client gets: the public one when it asks for a name of ours (SNI)
 * and that one is good, the device's own in every other case. Proxies use one TLS context for their
 * life; what is behind it changes from one handshake to the next. One thread. */
#ifndef LANYARD_AGENT_FRONT_H
#define LANYARD_AGENT_FRONT_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "agent/core/alpn.h"
#include "agent/core/truetime.h"
#include "common/base/attr.h"
#include "common/base/err.h"

struct front; /* opaque */

/* Since the start, by handshake. */
struct front_counters {
    uint64_t local;   /* got the device's own certificate */
    uint64_t foreign; /* asked for another name, and was sent away */
};

/* `name` is "*.<id>.<zone>"; with `refuse_foreign` clients that ask for a name which is neither
 * under it nor local ("localhost", "<x>.local", none at all) are refused. `time` is borrowed.
 * Errors: ERR_NOMEM. */
NODISCARD enum err front_new(struct front **out, const char *name, bool refuse_foreign,
                             const struct truetime *time);

/* Serves `key` and `chain` (leaf first, both only referenced), which is good from `not_before_s` to
 * `not_after_s`, Unix seconds, until its end.
 * Errors: those of tls_server_new(); what was served before goes on. */
NODISCARD enum err front_set_public(struct front *f, EVP_PKEY *key, STACK_OF(X509) * chain,
                                    int64_t not_before_s, int64_t not_after_s,
                                    struct err_info *info);

/* The same for the device's own certificate. */
NODISCARD enum err front_set_local(struct front *f, EVP_PKEY *key, X509 *cert,
                                   struct err_info *info);

/* What a connection of front_tls() may agree on by ALPN; `alpn` must outlive it. Without a call,
 * ALPN_HTTP1. */
void front_set_alpn(SSL *ssl, const struct alpn *alpn);

/* The context for proxies; NULL before front_set_local(). Borrowed, and changed by it. */
SSL_CTX *front_tls(const struct front *f);

struct front_counters front_counters(const struct front *f);

/* After the last connection that uses its context. */
void front_free(struct front *f);

#endif
