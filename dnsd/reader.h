/* reader.h - the thread that reads challenge values from the store and sends the replies, so that
 * no store, however slow, is on the way of an address answer. Its queue is bounded: when it is
 * full, the question is SERVFAIL at once. Nothing is cached. */
#ifndef LANYARD_DNSD_READER_H
#define LANYARD_DNSD_READER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/query.h"
#include "dnsd/mailbox.h"
#include "dnsd/tally.h"

#define READER_CONTROL_LEN 64 /* control data of a datagram: the address it was sent to */

/* Where a reply goes. send() is called on the reader's thread. */
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

struct reader; /* opaque */

/* Starts the thread. The caller calls reader_free() when no other thread submits any more. */
NODISCARD enum err reader_new(struct reader **out, struct err_info *info);

/* Ends the thread; questions still queued get no reply. */
void reader_free(struct reader *r);

/* Queues a question. False when the queue is full: the caller replies SERVFAIL. Any thread; takes a
 * lock for as long as a copy of a few hundred bytes. */
NODISCARD bool reader_submit(struct reader *r, const struct query_challenge *challenge,
                             const struct reader_return *ret);

/* Once every question that was queued so far has been answered, retires change->old, forgets stores
 * that change->view does not name, and calls released(change) on the reader's thread. One at a
 * time. Any thread. */
void reader_release(struct reader *r, struct view_change *change,
                    void (*released)(struct view_change *change));

#endif
