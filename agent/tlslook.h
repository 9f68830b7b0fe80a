/* tlslook.h - one look at which certificate is served somewhere: connects as a client would, and
 * trusts nobody. One loop, its thread. */
#ifndef LANYARD_AGENT_TLSLOOK_H
#define LANYARD_AGENT_TLSLOOK_H

#include <openssl/ssl.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"
#include "common/net/loop.h"

#define TLSLOOK_DEADLINE_S 10 /* for each step of connection and handshake */

struct tlslook; /* opaque: one look under way */

enum tlslook_end {
    TLSLOOK_SEEN,
    TLSLOOK_SILENT,  /* no answer in time */
    TLSLOOK_REFUSED, /* no connection */
    TLSLOOK_NO_TLS
};

/* Looks at `address`, asking for `name` (SNI), with the client context `tls` (borrowed while it
 * lasts). fn(arg, ...) is called once, later, and never after tlslook_free(); `leaf` is borrowed,
 * and NULL but for TLSLOOK_SEEN. The look is over then, and still to be freed. Errors: ERR_NOMEM.
 */
NODISCARD enum err tlslook_new(struct tlslook **out, struct loop *l, SSL_CTX *tls,
                               const struct addr *address, const char *name,
                               void (*fn)(void *arg, enum tlslook_end end, X509 *leaf), void *arg);

void tlslook_free(struct tlslook *t);

#endif
