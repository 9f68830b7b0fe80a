/* conn.h - the signed requests to one CA under one account: directory, nonces, registration, and
 * the retries that are nobody else's business. One loop, its thread. [RFC 8555 s6, s7.1-7.3] */
#ifndef LANYARD_PROVISIOND_ACME_CONN_H
#define LANYARD_PROVISIOND_ACME_CONN_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/net/loop.h"
#include "provisiond/acme/acme.h"
#include "provisiond/acme/errors.h"
#include "provisiond/issuer.h"

struct conn; /* opaque */

struct conn_reply {
    struct issuer_reply reply; /* ISSUER_OK: the CA answered 2xx */
    struct span body;          /* at most 64 KiB; borrowed during the callback */
    const char *location;      /* a usable https URL, or "" */
};

typedef void conn_fn(void *op, const struct conn_reply *reply);

struct conn_request {
    const char *url; /* NULL: the directory's newOrder */
    enum errors_context context;
    struct span payload; /* copied; empty: POST-as-GET */
    const char *accept;  /* a literal: media type wanted; NULL: none in particular */
    conn_fn *fn;
    void *op; /* for `fn`; from malloc(), and conn's to free() after it, or with conn_free() */
};

/* Errors: as acme_issuer_new(). */
NODISCARD enum err conn_new(struct conn **out, struct loop *l, const struct acme_options *o,
                            struct err_info *info);

/* Ends everything under way without callbacks. */
void conn_free(struct conn *c);

/* Sends a request: fetches the directory (kept for an hour) and registers (once) before it where
 * that is needed. r->fn is called exactly once, later, from the loop. */
void conn_post(struct conn *c, const struct conn_request *r);

/* The thumbprint of the account key. Borrowed. */
const char *conn_thumbprint(const struct conn *c);

#endif
