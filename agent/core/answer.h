/* answer.h - what an answer of the service means for the next certificate. Everything in it comes
 * from outside: whatever does not fit the device API is ANSWER_FAILED with a reason. Pure; any
 * thread. */
#ifndef LANYARD_AGENT_CORE_ANSWER_H
#define LANYARD_AGENT_CORE_ANSWER_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/base/span.h"

#define ANSWER_BODY_MAX (64 * 1024) /* bytes of any body that we take from the service */

#define ANSWER_CODE_LEN 9 /* characters of a pairing code: ABCD-EFGH */

enum answer_call {
    ANSWER_ENROLL,
    ANSWER_SUBMIT,
    ANSWER_POLL,
    ANSWER_RENEWAL,
    ANSWER_DELETE,
    ANSWER_PAIRING,
    ANSWER_REPORT,
    ANSWER_CALL_N
};

enum answer_kind {
    ANSWER_FAILED,   /* try the same again later */
    ANSWER_OK,       /* done */
    ANSWER_WAITING,  /* the certificate is on its way */
    ANSWER_ISSUED,   /* `chain` holds it, unchecked */
    ANSWER_UNKNOWN,  /* this device is not enrolled (any more) */
    ANSWER_REFUSED,  /* this CSR will never do: it is at fault */
    ANSWER_REKEY,    /* this CSR will not do any more: another will */
    ANSWER_NO_ORDER, /* the service has no order of ours */
};

struct answer {
    enum answer_kind kind;
    char id[64];        /* ANSWER_ENROLL that is OK: the id the service derived */
    int64_t retry_in_s; /* ANSWER_WAITING: when to ask again; -1: not said */
    /* ANSWER_RENEWAL that is OK, and ANSWER_REPORT with next_check_in_s above 0: by the service's
     * clock, so that ours does not matter */
    int64_t renew_in_s;      /* until the certificate is to be renewed; 0: now */
    int64_t next_check_in_s; /* until it should be asked again */
    char serial[64];         /* of the certificate that is meant, hexadecimal */
    char why[24];
    /* ANSWER_PAIRING that is OK */
    char code[ANSWER_CODE_LEN + 1];
    int64_t expires_in_s; /* 1 to an hour */
    struct span chain;    /* ANSWER_ISSUED: PEM, borrowed from the body */
    struct span report;   /* ANSWER_REPORT that is OK: the body, for reported_parse() */
    struct err_info info; /* a sentence, control bytes replaced; "" when there is nothing to say */
};

/* Reads the answer to `call`. `content_type` may be NULL. Never fails. */
void answer_parse(struct answer *out, enum answer_call call, int status, const char *content_type,
                  struct span body);

#endif
