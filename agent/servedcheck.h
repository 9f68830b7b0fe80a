/* servedcheck.h - does the application really serve the new certificate? Connects to it as a client
 * would and compares what it presents. An application takes its time to reload, so a difference
 * counts only when it lasts. One loop, its thread. */
#ifndef LANYARD_AGENT_SERVEDCHECK_H
#define LANYARD_AGENT_SERVEDCHECK_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"
#include "common/net/loop.h"

struct servedcheck; /* opaque */

enum served {
    SERVED_PENDING,     /* not asked yet, or a first difference may pass */
    SERVED_CURRENT,     /* the certificate that was expected */
    SERVED_OTHER,       /* another one */
    SERVED_UNREACHABLE, /* no connection, or no TLS */
};

struct served_result {
    enum served what;
    int64_t at;      /* Unix seconds of the look; 0: never */
    char serial[48]; /* of what was served; "" when nothing was */
    char text[256];  /* a sentence */
};

/* Checks the application at `address`, asking for `name` (SNI; kept). fn(arg, what) is told each
 * result that lasted, also when it is the one of before. Errors: ERR_NOMEM. */
NODISCARD enum err servedcheck_new(struct servedcheck **out, struct loop *l,
                                   const struct addr *address, const char *name,
                                   void (*fn)(void *arg, enum served what), void *arg);

/* Expects `leaf` (referenced) from now on: looks at once and every 6 hours, each time again after
 * 2, 5, 10 and 20 seconds while it is something else. Expected already, it is looked for anew, and
 * the result of before stands until then. */
void servedcheck_expect(struct servedcheck *s, X509 *leaf);

const struct served_result *servedcheck_result(const struct servedcheck *s);

/* "pending", "current", "other", "unreachable". */
const char *served_name(enum served s);

void servedcheck_free(struct servedcheck *s);

#endif
