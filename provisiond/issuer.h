/* issuer.h - one account at a certificate authority as the order engine sees it, step by step, so
 * that each step can be written down before it is taken. acme/ speaks to any RFC 8555 CA; local.c
 * is a private CA that needs no challenge. One loop, its thread.
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
#define ISSUER_TXT_MAX 512     /* bytes of a record for a challenge, NUL included */
#define ISSUER_CERT_ID_MAX 80  /* of RFC 9773 s4.1, NUL included */
#define ISSUER_PROFILE_MAX 64  /* name of a profile, NUL included */
#define ISSUER_PROFILES_MAX 16 /* of one CA; more are ignored */
#define ISSUER_DOMAINS_MAX 10  /* of one CA, for dns-persist-01 */

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

/* Which of the CA's limits a HOLD is about: what to park, and what may go on. */
enum issuer_limit {
    ISSUER_LIMIT_NONE,
    ISSUER_LIMIT_ACCOUNT,  /* orders of this account */
    ISSUER_LIMIT_DOMAIN,   /* certificates of the registered domain */
    ISSUER_LIMIT_NAMES,    /* certificates of exactly these names */
    ISSUER_LIMIT_FAILURES, /* failed validations of this name */
    ISSUER_LIMIT_ADDRESS,  /* what this machine's address may ask */
    ISSUER_LIMIT_PAUSED,   /* with ISSUER_HUMAN: the sentence says where to unpause */
    ISSUER_LIMIT_OTHER,    /* the CA did not say */
};

/* The part that all replies share. */
struct issuer_reply {
    enum issuer_verdict verdict;
    enum issuer_limit limit;
    bool secondary;        /* the CA's remote perspectives did not see what its first one saw */
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

/* What is asked for with a new order. Everything is borrowed during the call. */
struct issuer_params {
    const char *const *names; /* 1..ISSUER_NAMES_MAX DNS names */
    size_t n_names;
    const char *profile;  /* NULL: the CA's default. Left out when the CA does not have it (any
                             more) */
    const char *replaces; /* id of the certificate that this one is to replace, issued under the
                             same account (facts().account) and not expired; NULL: none. Left out
                             on one retry when the CA refuses it [RFC 9773 s5] */
    int64_t not_before, not_after; /* Unix seconds; 0: the CA's choice. Many CAs refuse them */
};

struct issuer_order {
    struct issuer_reply reply;
    enum issuer_status status;
    bool replaces_refused; /* of a new order: the CA refused `replaces`, and ordered without it */
    bool profile_dropped;  /* of a new order: it was made without the profile that was asked for */
    char account[ISSUER_URL_MAX]; /* of a new order: whose it is, for issuers_find() */
    char url[ISSUER_URL_MAX];     /* of the order itself */
    char finalize_url[ISSUER_URL_MAX];
    char certificate_url[ISSUER_URL_MAX]; /* "" until valid */
    size_t n_authz;
    char authz_url[ISSUER_NAMES_MAX][ISSUER_URL_MAX]; /* sorted: the same in every reply */
};

struct issuer_authz {
    struct issuer_reply reply; /* also carries the error object of a failed challenge */
    enum issuer_status status; /* of the authorisation */
    bool has_challenge;        /* of the kind that this issuer answers */
    bool standing;             /* nothing is to be published: txt_value is what stands at
                                  _validation-persist.<id> already */
    enum issuer_status challenge_status;
    bool challenge_failed; /* the CA has given it up: "invalid", or "pending" with an error, as
                              Caddy leaves it; not "processing", where it may be tried again */
    char challenge_url[ISSUER_URL_MAX];
    char txt_value[ISSUER_TXT_MAX]; /* for _acme-challenge.<id>, unless `standing` */
};

struct issuer_chain {
    struct issuer_reply reply;
    struct span pem; /* leaf first; borrowed during the callback; not yet checked */
};

/* When to renew. ISSUER_OK: the window; ask again after reply.retry_after_s, which is 60..86400.
 * ISSUER_RETRY: temporary, ask again with back-off. Any other: lasting, ask again after
 * reply.retry_after_s (six hours where the CA names nothing), go by the lifetime meanwhile.
 * [RFC 9773 s4.3] */
struct issuer_window {
    struct issuer_reply reply;
    int64_t start_at, end_at;         /* Unix seconds; start < end */
    char explanation[ISSUER_URL_MAX]; /* for the operator; "" when none */
};

/* The reasons that Let's Encrypt takes from a subscriber [RFC 5280 s5.3.1] */
enum issuer_reason {
    ISSUER_REASON_UNSPECIFIED = 0,
    ISSUER_REASON_KEY_COMPROMISE = 1,
    ISSUER_REASON_SUPERSEDED = 4,
    ISSUER_REASON_CESSATION = 5,
};

struct issuer_revocation {
    struct span cert_der; /* of the leaf */
    enum issuer_reason reason;
    struct span key_pem; /* the certificate's own private key, which proves it to any CA; empty: by
                            the account that the certificate was issued under */
};

enum issuer_account_act {
    ISSUER_ACCOUNT_SHOW,       /* looks it up; never makes one */
    ISSUER_ACCOUNT_UPDATE,     /* contact as configured, and agreement to the terms of now */
    ISSUER_ACCOUNT_ROLLOVER,   /* to a fresh key, which then is in the key file */
    ISSUER_ACCOUNT_DEACTIVATE, /* for good */
};

struct issuer_account {
    struct issuer_reply reply;
    enum issuer_status status; /* ISSUER_VALID, or ISSUER_INVALID when it is closed */
    char url[ISSUER_URL_MAX];
    char thumbprint[44];              /* of its key, for challenges answered by a third party */
    char persist_uri[ISSUER_URL_MAX]; /* the account in records of dns-persist-01; "": unknown */
};

/* What is known without asking anybody. Borrowed until the next call into the issuer. */
struct issuer_facts {
    const char *account; /* its URL: says which account issued a certificate; "" before it is known,
                            "local" for the local CA */
    bool known;          /* the directory has been read, so that what follows is true: probe() */
    bool has_renewal_info, has_revocation, has_rollover;
    const char *terms;        /* URL, "" when none */
    const char *agreed_terms; /* those agreed to last; "" when that is not known */
    bool has_clock;           /* it said its time with the directory */
    int64_t clock_ahead_s;    /* of our clock over the CA's */
    size_t n_profiles;        /* 0: the CA has none to choose from */
    const char *profiles[ISSUER_PROFILES_MAX];
    size_t n_caa; /* the domains by which CAA records name this CA */
    const char *caa[ISSUER_PROFILES_MAX];
    size_t n_persist; /* the same for records of dns-persist-01 */
    const char *persist[ISSUER_DOMAINS_MAX];
};

struct issuer;

typedef void issuer_done_fn(void *arg, const struct issuer_reply *reply);
typedef void issuer_window_fn(void *arg, const struct issuer_window *window);
typedef void issuer_account_fn(void *arg, const struct issuer_account *account);
typedef void issuer_order_fn(void *arg, const struct issuer_order *order);
typedef void issuer_authz_fn(void *arg, const struct issuer_authz *authz);
typedef void issuer_chain_fn(void *arg, const struct issuer_chain *chain);

/* Where the reply of one call goes, by its kind. */
union issuer_fn {
    issuer_order_fn *order;
    issuer_authz_fn *authz;
    issuer_chain_fn *chain;
    issuer_window_fn *window;
    issuer_account_fn *account;
    issuer_done_fn *done;
};

struct issuer_ops {
    /* A new order. May come back READY (authorisations reused). */
    void (*order_new)(struct issuer *is, const struct issuer_params *params, issuer_order_fn *fn,
                      void *arg);
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
    /* When the certificate with this id is to be renewed. Needs no account. */
    void (*renewal_info)(struct issuer *is, const char *cert_id, issuer_window_fn *fn, void *arg);
    /* ISSUER_OK also when it was revoked before. */
    void (*revoke)(struct issuer *is, const struct issuer_revocation *what, issuer_done_fn *fn,
                   void *arg);
    void (*account)(struct issuer *is, enum issuer_account_act act, issuer_account_fn *fn,
                    void *arg);
    /* Reads the directory anew: whether the CA can be reached. */
    void (*probe)(struct issuer *is, issuer_done_fn *fn, void *arg);
    void (*facts)(const struct issuer *is, struct issuer_facts *out);
    void (*free)(struct issuer *is);
};

/* First member of every implementation. */
struct issuer {
    const struct issuer_ops *ops;
    const char *name; /* as configured; borrowed from the configuration */
};

#endif
