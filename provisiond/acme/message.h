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

struct message_directory {
    char new_nonce[ISSUER_URL_MAX];
    char new_account[ISSUER_URL_MAX];
    char new_order[ISSUER_URL_MAX];
    char terms[ISSUER_URL_MAX]; /* "" when the CA names none */
    bool eab_required;
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
    char token[ISSUER_TOKEN_MAX]; /* base64url text */
    bool has_error;
    struct errors_problem error;
};

struct message_authz {
    enum issuer_status status; /* expired, revoked and deactivated are ISSUER_INVALID here */
    bool has_dns01;
    struct message_challenge dns01;
};

/* Whether `url` is https with a host, printable, without credentials, and short enough to keep. */
bool message_url_ok(const char *url);

/* Parsers. Errors: ERR_INVALID (not JSON, a member missing or of the wrong kind, a bad URL),
 * ERR_LIMIT (size, depth, number of authorisations), ERR_NOMEM; *out is then undefined. */
NODISCARD enum err message_parse_directory(struct span body, struct message_directory *out,
                                           struct err_info *info);
NODISCARD enum err message_parse_order(struct span body, struct message_order *out,
                                       struct err_info *info);
NODISCARD enum err message_parse_authz(struct span body, struct message_authz *out,
                                       struct err_info *info);
NODISCARD enum err message_parse_challenge(struct span body, struct message_challenge *out,
                                           struct err_info *info);
/* Only the status of an account: ISSUER_VALID; ISSUER_INVALID for deactivated and revoked. */
NODISCARD enum err message_parse_account(struct span body, enum issuer_status *out,
                                         struct err_info *info);

/* The problem in an error response; a body that is none (HTML, nothing) leaves only `status`. */
void message_parse_problem(struct span body, int status, struct errors_problem *out);

/* Payloads, appended to `out`. `contact` is an address such as "ops@example.org" or NULL; `eab` a
 * whole JWS or empty. Errors: ERR_NOMEM, ERR_INVALID for text that is not UTF-8, buf_error(). */
NODISCARD enum err message_new_account(struct buf *out, const char *contact, struct span eab);
NODISCARD enum err message_new_order(struct buf *out, const char *const *names, size_t n_names);
NODISCARD enum err message_finalize(struct buf *out, struct span csr_der);

#endif
