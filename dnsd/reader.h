/* reader.h - the threads that read challenge values and send the replies, one for each store, so
 * that no store, however slow, is on the way of an address answer or of another store. The queue of
 * each is bounded, and so is the part of it that one network (IPv4 /24, IPv6 /56) may have, by UDP
 * and TCP together: past that, and while a store is known not to answer, a question is SERVFAIL at
 * once. Nothing is cached. */
#ifndef LANYARD_DNSD_READER_H
#define LANYARD_DNSD_READER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/query.h"
#include "dnsd/mailbox.h"
#include "dnsd/tally.h"

#define READER_STORES_MAX 16  /* that the zones of a configuration name */
#define READER_CONTROL_LEN 64 /* control data of a datagram: the address it was sent to */

/* Where a reply goes. send() is called on a thread of the reader. */
struct reader_return {
    void (*send)(const struct reader_return *ret, struct span reply);
    enum tally_transport transport;
    void *owner; /* of a stream */
    uint64_t connection;
    int fd; /* of a datagram; stays open for the life of the reader */
    struct sockaddr_storage peer;
    socklen_t peer_len;
    size_t control_len;
    uint8_t control[READER_CONTROL_LEN];
};

enum reader_result {
    READER_VALUES, /* there were some */
    READER_NONE,
    READER_FAILED,  /* the store could not be read */
    READER_EXPIRED, /* waited too long to be worth a read */
    READER_CLOSED,  /* the store had become known not to answer */
    READER_RESULTS
};

/* Counters. */
struct reader_counts {
    struct tally tally[TALLY_TRANSPORTS];
    struct metric results[READER_RESULTS];
    struct metric queue_full;     /* questions that there was no place for */
    struct metric turned_away;    /* questions for a store that is known not to answer */
    struct metric queued;         /* questions that wait at present */
    struct metric_histogram took; /* from the question to its reply */
    struct signer_counts signatures;
};

extern const char *const READER_RESULT_NAMES[READER_RESULTS];

enum reader_state {
    READER_UNCHECKED,
    READER_READABLE, /* every store that the zones name; or they name none */
    READER_UNREADABLE
};

struct reader; /* opaque */

/* Threads of stores start when they are first asked for. The caller calls reader_free() when no
 * other thread submits any more. */
NODISCARD enum err reader_new(struct reader **out, struct err_info *info);

/* Ends the threads; questions still queued get no reply. */
void reader_free(struct reader *r);

/* Queues a question. False when there is no place, or the store does not answer: the caller replies
 * SERVFAIL. Any thread; takes locks for as long as a copy of a few hundred bytes, and, once for
 * each store, the start of a thread. */
NODISCARD bool reader_submit(struct reader *r, const struct query_challenge *challenge,
                             const struct reader_return *ret);

/* Looks whether the stores of `view`, which is in use, can be read; for reader_last_check(). Any
 * thread. */
void reader_check(struct reader *r, const struct view *view);

/* What the last check that is done found; *at_ms is when, on the monotonic clock. Any thread. */
enum reader_state reader_last_check(struct reader *r, int64_t *at_ms);

/* The counters of all stores together. Any thread. */
void reader_count(struct reader *r, struct reader_counts *out);

/* Once every question that was queued so far has been answered, retires change->old, forgets stores
 * that change->view does not name, and calls released(change) on a thread of the reader. One at a
 * time. Any thread. */
void reader_release(struct reader *r, struct view_change *change,
                    void (*released)(struct view_change *change));

#endif
