/* tally.h - what one thread has answered, counted for the operator: replies by type and outcome,
 * what got none, and how long batches took. Each thread writes its own; any thread reads. */
#ifndef LANYARD_DNSD_TALLY_H
#define LANYARD_DNSD_TALLY_H

#include "common/base/metric.h"
#include "dnsd/core/question.h"
#include "dnsd/core/sign.h"

enum tally_transport { TALLY_UDP, TALLY_TCP, TALLY_TLS, TALLY_TRANSPORTS };

enum tally_type {
    TALLY_TYPE_OTHER,
    TALLY_TYPE_NONE, /* no question that could be read */
    TALLY_TYPE_A,
    TALLY_TYPE_AAAA,
    TALLY_TYPE_TXT,
    TALLY_TYPE_NS,
    TALLY_TYPE_SOA,
    TALLY_TYPE_CAA,
    TALLY_TYPE_DS,
    TALLY_TYPE_DNSKEY,
    TALLY_TYPE_HTTPS,
    TALLY_TYPE_ANY,
    TALLY_TYPES
};

enum tally_outcome {
    TALLY_OTHER,
    TALLY_ANSWER,
    TALLY_NODATA,
    TALLY_REFERRAL,
    TALLY_TRUNCATED,
    TALLY_NXDOMAIN,
    TALLY_FORMERR,
    TALLY_SERVFAIL,
    TALLY_NOTIMP,
    TALLY_REFUSED,
    TALLY_OUTCOMES
};

struct tally {
    struct metric replies[TALLY_TYPES][TALLY_OUTCOMES];
    struct metric unanswered;               /* requests that deserve no reply */
    struct metric limited;                  /* replies that rate limiting held back */
    struct metric slipped;                  /* replies that it made small instead */
    struct metric unsent;                   /* replies that the system refused to send */
    const struct signer_counts *signatures; /* of the thread; set before anybody reads */
    struct metric_histogram batch;          /* from having read questions to having replied */
};

extern const char *const TALLY_TRANSPORT_NAMES[TALLY_TRANSPORTS];
extern const char *const TALLY_TYPE_NAMES[TALLY_TYPES];
extern const char *const TALLY_OUTCOME_NAMES[TALLY_OUTCOMES];

/* The class of each type below 258. */
extern const uint8_t TALLY_TYPE_OF[258];

/* The outcome of a reply that is no plain answer. */
enum tally_outcome tally_other_outcome(const uint8_t *reply);

/* Counts a `reply` to the question `q` as the answer path left it; both of the caller's thread. */
static inline void tally_reply(struct tally *t, const struct question *q, const uint8_t *reply)
{
    unsigned type = q->type < sizeof TALLY_TYPE_OF ? TALLY_TYPE_OF[q->type] : TALLY_TYPE_OTHER;
    unsigned outcome = TALLY_ANSWER;
    /* flags with TC, RCODE; number of answers, which fits one byte where it matters */
    if ((reply[2] & 2) != 0 || (reply[3] & DNS_FLAG_RCODE) != 0 || reply[7] == 0) {
        outcome = tally_other_outcome(reply);
        type = q->end > DNS_HEADER_LEN ? type : TALLY_TYPE_NONE;
    }
    metric_add(&t->replies[type][outcome], 1);
}

/* Counts the reply to a deferred TXT question. */
void tally_challenge_reply(struct tally *t, const uint8_t *reply);

#endif
