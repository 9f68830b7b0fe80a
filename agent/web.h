/* web.h - the device's own pages: / for people, /v1/hello for programs (see hello.h). Without
 * secrets but for the pairing code, which is for whoever can open the page: a button has one made.
 * So / is for the device's own network only, wherever it is served. Another button has the
 * resolvers tested again, every ten seconds at most. One loop, its thread. */
#ifndef LANYARD_AGENT_WEB_H
#define LANYARD_AGENT_WEB_H

#include <jansson.h>
#include <openssl/ssl.h>

#include "agent/events.h"
#include "agent/identity.h"
#include "agent/pairing.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"

#define WEB_LISTENERS_MAX 8

struct web; /* opaque */

struct web_parts {
    struct loop *loop;
    const struct identity *identity; /* this and all below: borrowed */
    const char *suffix;              /* ".<id>.<zone>" */
    const struct events *events;
    struct pairing *pairing;
    json_t *(*status)(void *arg);  /* a new reference to what `status --json` says */
    void (*test_again)(void *arg); /* looks at the resolvers */
    void *arg;
};

NODISCARD enum err web_new(struct web **out, const struct web_parts *parts);

/* Serves on the listening socket `fd` (taken over on success); with `secure` only once there is a
 * certificate: see web_set_tls(). At most WEB_LISTENERS_MAX. Errors: ERR_NOMEM, ERR_LIMIT. */
NODISCARD enum err web_listen(struct web *w, int fd, bool secure);

/* Uses `tls` for connections accepted from now on. */
void web_set_tls(struct web *w, SSL_CTX *tls);

void web_free(struct web *w);

#endif
