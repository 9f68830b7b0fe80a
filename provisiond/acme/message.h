/* message.h - the JSON of a CA as plain structs, and ours for it. The only file that sees jansson.
 * Pure; any thread. Everything parsed is hostile: sizes, depth and URLs have limits, URLs are https
 * and printable; unknown members, statuses and challenge types are ignored. [RFC 8555 s7.1] */
#ifndef LANYARD_PROVISIOND_ACME_MESSAGE_H
#define LANYARD_PROVISIOND_ACME_MESSAGE_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "provisiond/acme/errors.h"
#include "provisiond/issuer.h"

#define MESSAGE_MAX (64 * 1024) /* bytes of a body that are looked at */
#define MESSAGE_DEPTH_MAX 16    /* objects and arrays in each other */

#define MESSAGE_DOMAIN_MAX 254

/* Lower case, without a final dot. */
struct message_domains {
    size_t n;
    char at[ISSUER_DOMAINS_MAX][MESSAGE_DOMAIN_MAX];
};

struct message_directory {
    char new_nonce[ISSUER_URL_MAX];
    char new_account[ISSUER_URL_MAX];
    char new_order[ISSUER_URL_MAX];
    char revoke_cert[ISSUER_URL_MAX]; /* "" when the CA has it not; the same below */
    char key_change[ISSUER_URL_MAX];
    char renewal_info[ISSUER_URL_MAX];
    char terms[ISSUER_URL_MAX];
    bool eab_required;
    size_t n_profiles;
    char profiles[ISSUER_PROFILES_MAX][ISSUER_PROFILE_MAX];
    size_t n_caa;
    char caa[ISSUER_PROFILES_MAX][MESSAGE_DOMAIN_MAX]; /* for CAA records */
    /* for records of dns-persist-01: the first of the CAA domains where the CA does not say */
    struct message_domains persist;
    char hash_prefix[ISSUER_URL_MAX]; /* of an account in them; "": its URL stands there */
};

/* An order without its own URL, which is in a header. */
struct message_order {
    enum issuer_status status;
    char finalize_url[ISSUER_URL_MAX];    /* "" when absent */
    char certificate_url[ISSUER_URL_MAX]; /* "" until valid */
    size_t n_authz;
    char authz_url[ISSUER_NAMES_MAX][ISSUER_URL_MAX];
    bool has_error;
    struct errors_problem error;
};

struct message_challenge {
    enum issuer_status status;
    char url[ISSUER_URL_MAX];
    char token[ISSUER_TOKEN_MAX];   /* base64url text */
    struct message_domains persist; /* of dns-persist-01: by which the CA may be named */
    bool has_error;
    struct errors_problem error;
};

struct message_authz {
    enum issuer_status status; /* expired, revoked and deactivated are ISSUER_INVALID here */
    bool has_challenge;
    struct message_challenge challenge; /* the first of the type that was asked for */
};

struct message_account {
    enum issuer_status status; /* ISSUER_VALID; ISSUER_INVALID for deactivated and revoked */
};

struct message_window {
    int64_t start_at, end_at; /* Unix seconds; start < end */
    char explanation[ISSUER_URL_MAX];
};

/* Whether `url` is https with a host, printable, without credentials, and short enough to keep. */
bool message_url_ok(const char *url);

/* Parsers. Errors: ERR_INVALID (not JSON, a member missing or of the wrong kind, a bad URL),
 * ERR_LIMIT (size, depth, number of authorisations), ERR_NOMEM; *out is then undefined. */
NODISCARD enum err message_parse_directory(struct span body, struct message_directory *out,
                                           struct err_info *info);
NODISCARD enum err message_parse_order(struct span body, struct message_order *out,
                                       struct err_info *info);
/* `type` is the challenge wanted, such as "dns-01"; with a token where `has_token`, else with
 * domains. */
NODISCARD enum err message_parse_authz(struct span body, const char *type, bool has_token,
                                       struct message_authz *out, struct err_info *info);
NODISCARD enum err message_parse_challenge(struct span body, struct message_challenge *out,
                                           struct err_info *info);
NODISCARD enum err message_parse_account(struct span body, struct message_account *out,
                                         struct err_info *info);
/* Renewal information. A window that ends before it begins is ERR_INVALID. [RFC 9773 s4.2] */
NODISCARD enum err message_parse_window(struct span body, struct message_window *out,
                                        struct err_info *info);

/* The problem in an error response; a body that is none (HTML, nothing) leaves only `status`. */
void message_parse_problem(struct span body, int status, struct errors_problem *out);

/* Seconds of a date such as "2026-11-21T04:00:00.5+01:00" or "...Z" [RFC 3339 s5.6].
 * Errors: ERR_INVALID. */
NODISCARD enum err message_parse_time(const char *text, int64_t *out);

/* Payloads, appended to `out`. `contact` is an address such as "ops@example.org" or NULL; `eab` a
 * whole JWS or empty; an empty or NULL member is left out. Errors: ERR_NOMEM, ERR_INVALID for text
 * that is not UTF-8, buf_error(). */
NODISCARD enum err message_new_account(struct buf *out, const char *contact, struct span eab);
NODISCARD enum err message_new_order(struct buf *out, const struct issuer_params *params);
NODISCARD enum err message_finalize(struct buf *out, struct span csr_der);
NODISCARD enum err message_revoke(struct buf *out, struct span cert_der, enum issuer_reason reason);
/* `old_jwk` is a JWK as text. [RFC 8555 s7.3.5] */
NODISCARD enum err message_key_change(struct buf *out, const char *account, struct span old_jwk);

#endif
