/* conn.h - the requests to one CA under one account: directory, nonces, registration, and the
 * retries that are nobody else's business. One loop, its thread. [RFC 8555 s6, s7.1-7.3]
 * A connection that died while idle may make libcurl send a request a second time. That is
 * harmless: it has the same nonce, of which the CA takes one. */
#ifndef LANYARD_PROVISIOND_ACME_CONN_H
#define LANYARD_PROVISIOND_ACME_CONN_H

#include <openssl/evp.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/net/fetch.h"
#include "common/net/loop.h"
#include "provisiond/acme/acme.h"
#include "provisiond/acme/errors.h"
#include "provisiond/acme/message.h"
#include "provisiond/acme/signer.h"
#include "provisiond/issuer.h"

struct conn; /* opaque */

struct conn_reply {
    struct issuer_reply reply;            /* ISSUER_OK: the CA answered 2xx */
    const struct errors_problem *problem; /* what it was made of; NULL when there was none */
    struct span body;                     /* at most 64 KiB; borrowed during the callback */
    const char *location;                 /* a usable https URL, or "" */
    const struct fetch_result *response;  /* for more headers; NULL when there was none */
};

typedef void conn_fn(void *op, const struct conn_reply *reply);

/* Appends the payload, when the directory and the account are there. `op` is the request's. */
typedef enum err conn_build_fn(struct conn *c, const void *op, struct buf *out);

/* Where a request goes. What the directory lacks ends in ISSUER_PERMANENT. */
enum conn_target {
    CONN_URL,       /* conn_request.url */
    CONN_DIRECTORY, /* fetches it anew; nothing is posted */
    CONN_NEW_ACCOUNT,
    CONN_NEW_ORDER,
    CONN_REVOKE_CERT,
    CONN_KEY_CHANGE,
    CONN_RENEWAL_INFO, /* conn_request.url is what comes after it */
    CONN_ACCOUNT,      /* the account's own URL */
};

enum conn_proof {
    CONN_BY_ACCOUNT,  /* signed by the account key, which names its account */
    CONN_BY_JWK,      /* signed by the account key, which shows itself */
    CONN_BY_NEXT_JWK, /* the same with the key that waits for a change */
    CONN_BY_CERT_KEY, /* signed by conn_request.cert_key */
    CONN_UNSIGNED,    /* a plain GET */
};

struct conn_request {
    enum conn_target target;
    enum conn_proof proof;
    const char *url;
    enum errors_context context;
    struct span payload;  /* copied; empty: POST-as-GET */
    conn_build_fn *build; /* instead of `payload`; NULL: none */
    EVP_PKEY *cert_key;   /* a reference is taken */
    const char *accept;   /* a literal: media type wanted; NULL: none in particular */
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

/* Borrowed. */
struct signer *conn_signer(const struct conn *c);
const struct message_directory *conn_directory(const struct conn *c); /* NULL before the first */
const char *conn_contact(const struct conn *c);                       /* NULL: none */

/* The account's URL; "" before it is known. */
const char *conn_account(const struct conn *c);

/* How far our clock is ahead of the CA's; false when it has not said its time. */
bool conn_clock(const struct conn *c, int64_t *ahead_s);

/* The URL of the terms of service that were agreed to last; "" when that is not known. */
const char *conn_agreed_terms(const struct conn *c);

/* Notes that the CA was just told that we agree to its present terms, here and beside the key. */
void conn_note_agreement(struct conn *c);

/* Notes a change of the account's URL or key, here and beside the key; `url` "" has it looked up
 * again before the next request. */
void conn_set_account(struct conn *c, const char *url);

#endif
