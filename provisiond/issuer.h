/* issuer.h - a certificate authority as the order engine sees it, step by step, so that each step
 * can be written down before it is taken. acme/ speaks to any RFC 8555 CA; local.c is a private CA
 * that needs no challenge. One loop, its thread.
 *
 * Every call ends in exactly one callback, later, from the loop (never from inside the call),
 * unless the issuer is freed first; there is no cancelling: a caller that lost interest ignores the
 * reply. */
#ifndef LANYARD_PROVISIOND_ISSUER_H
#define LANYARD_PROVISIOND_ISSUER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define ISSUER_URL_MAX 512 /* bytes of a URL that we keep, NUL included; longer is refused */
#define ISSUER_NAMES_MAX 2
#define ISSUER_TOKEN_MAX 256

/* What the engine must do about a reply: one row of the classification each. */
enum issuer_verdict {
    ISSUER_OK,
    ISSUER_RETRY,     /* the CA is away or stumbling: same step again with back-off */
    ISSUER_HOLD,      /* a limit: nothing of this kind before retry_after_s */
    ISSUER_NEW_ORDER, /* this order is lost: start a fresh one, later */
    ISSUER_RESUME,    /* the order is further than we thought: look at it again */
    ISSUER_DEVICE,    /* the CSR or its key is refused: the device must send another */
    ISSUER_HUMAN,     /* the operator must act (account, terms, pause): retry rarely */
    ISSUER_PERMANENT, /* this name will never be certified by this CA */
};

/* The part that all replies share. */
struct issuer_reply {
    enum issuer_verdict verdict;
    char type[48];         /* the CA's error type without its URN prefix, "" when none: "badCSR" */
    struct err_info info;  /* a sentence for the operator; no secret */
    int64_t retry_after_s; /* what the CA asked for, 0 when it did not */
};

enum issuer_status { /* the RFC's words [RFC 8555 s7.1.6] */
                     ISSUER_PENDING,
                     ISSUER_READY,
                     ISSUER_PROCESSING,
                     ISSUER_VALID,
                     ISSUER_INVALID,
                     ISSUER_OTHER, /* anything unknown: wait */
};

struct issuer_order {
    struct issuer_reply reply;
    enum issuer_status status;
    char url[ISSUER_URL_MAX]; /* of the order itself */
    char finalize_url[ISSUER_URL_MAX];
    char certificate_url[ISSUER_URL_MAX]; /* "" until valid */
    size_t n_authz;
    char authz_url[ISSUER_NAMES_MAX][ISSUER_URL_MAX]; /* sorted: the same in every reply */
};

struct issuer_authz {
    struct issuer_reply reply; /* also carries the error object of a failed challenge */
    enum issuer_status status; /* of the authorisation */
    bool has_dns01;
    enum issuer_status challenge_status;
    bool challenge_failed; /* the CA has given it up: "invalid", or "pending" with an error, as
                              Caddy leaves it; not "processing", where it may be tried again */
    char challenge_url[ISSUER_URL_MAX];
    char
        txt_value[44]; /* base64url of SHA-256 of the key authorisation: the TXT value, NUL-ended */
};

struct issuer_chain {
    struct issuer_reply reply;
    struct span pem; /* leaf first; borrowed during the callback; not yet checked */
};

struct issuer;

typedef void issuer_order_fn(void *arg, const struct issuer_order *order);
typedef void issuer_authz_fn(void *arg, const struct issuer_authz *authz);
typedef void issuer_chain_fn(void *arg, const struct issuer_chain *chain);

struct issuer_ops {
    /* A new order for 1..ISSUER_NAMES_MAX DNS names. May come back READY (authorisations reused).
     */
    void (*order_new)(struct issuer *is, const char *const *names, size_t n_names,
                      issuer_order_fn *fn, void *arg);
    /* The order as it stands now. */
    void (*order_get)(struct issuer *is, const char *url, issuer_order_fn *fn, void *arg);
    void (*authz_get)(struct issuer *is, const char *url, issuer_authz_fn *fn, void *arg);
    /* Tells the CA to validate the challenge now. Replies with the challenge as an authz whose
     * status is ISSUER_OTHER: poll authz_get(). */
    void (*challenge_start)(struct issuer *is, const char *challenge_url, issuer_authz_fn *fn,
                            void *arg);
    void (*finalize)(struct issuer *is, const struct issuer_order *order, struct span csr_der,
                     issuer_order_fn *fn, void *arg);
    void (*download)(struct issuer *is, const char *certificate_url, issuer_chain_fn *fn,
                     void *arg);
    void (*free)(struct issuer *is);
};

/* First member of every implementation. */
struct issuer {
    const struct issuer_ops *ops;
    const char *name; /* as configured; borrowed from the configuration */
};

#endif
