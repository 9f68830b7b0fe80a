/* errors.h - what to do about an error of a CA: one pure table over the error types and statuses of
 * RFC 8555 and what CAs send in practice. Any thread. */
#ifndef LANYARD_PROVISIOND_ACME_ERRORS_H
#define LANYARD_PROVISIOND_ACME_ERRORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provisiond/issuer.h"

#define ERRORS_SUBPROBLEMS_MAX 8 /* looked at; more are ignored */
#define ERRORS_TYPE_MAX 48
#define ERRORS_DETAIL_MAX 320

/* Where the error came up: the same type means different things. */
enum errors_context {
    ERRORS_DIRECTORY,
    ERRORS_NEW_NONCE,
    ERRORS_NEW_ACCOUNT,
    ERRORS_NEW_ORDER,
    ERRORS_ORDER, /* looking at an order or an authorisation, fetching the certificate */
    ERRORS_CHALLENGE,
    ERRORS_FINALIZE,
    ERRORS_VALIDATION, /* the error object inside an order or a challenge, not an HTTP error */
    ERRORS_RENEWAL,    /* renewal information */
    ERRORS_REVOKE,
};

/* An error as the CA sent it. Without a readable problem document only `status` is set. */
struct errors_problem {
    int status;                       /* HTTP status; 0 inside an order or a challenge */
    char type[ERRORS_TYPE_MAX];       /* without "urn:ietf:params:acme:error:"; "" when none */
    char detail[ERRORS_DETAIL_MAX];   /* printable; "" when none */
    char instance[ERRORS_DETAIL_MAX]; /* https URL that a person is to visit; "" when none */
    size_t n_sub;
    char sub_type[ERRORS_SUBPROBLEMS_MAX][ERRORS_TYPE_MAX];
};

enum issuer_verdict errors_classify(enum errors_context context, const struct errors_problem *p);

/* Whether the refusal of a new order is about its `replaces`, its `profile`: worth one try without
 * it. [RFC 9773 s5, draft-ietf-acme-profiles-00 s5] */
bool errors_is_replaces(const struct errors_problem *p);
bool errors_is_profile(const struct errors_problem *p);

/* Which limit a rateLimited detail speaks of, by the words of Let's Encrypt. */
enum issuer_limit errors_limit(const struct errors_problem *p);

/* Seconds to wait by a detail such as "..., retry after 2026-11-21 04:00:00 UTC: ...", seen at
 * `now_s`; 0 when there is none. For CAs that leave the header out. */
int64_t errors_retry_after(const char *detail, int64_t now_s);

/* Writes the verdict, limit, type and a sentence about `p` into `reply`; the rest of it stays. */
void errors_fill(struct issuer_reply *reply, enum errors_context context,
                 const struct errors_problem *p);

#endif
