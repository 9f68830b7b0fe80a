/* stream.h - a thread that answers over TCP, or over TLS. [RFC 7766, RFC 7858, RFC 9210]
 * There is one for each, so that a flood of handshakes holds up no plain question.
 * Every connection has a deadline: tcp_idle seconds after its last whole question (or after the
 * last byte of a reply that it took) it is closed, however many bytes drip in; sooner when more
 * than half of the connections are in use. A handshake has ten seconds. When connections run
 * out, of one client or of all, the one that has been idle longest makes room for the new one. A
 * client that does not read its replies is not read from. Questions for challenge values, which
 * have to wait for the store, do not hold up others of their connection. */
#ifndef LANYARD_DNSD_STREAM_H
#define LANYARD_DNSD_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/view.h"
#include "dnsd/mailbox.h"
#include "dnsd/reader.h"
#include "dnsd/tally.h"

struct stream; /* opaque */

struct stream_limits {
    unsigned max;        /* connections */
    unsigned client_max; /* connections of one IPv4 address or IPv6 /64 */
    int64_t idle_ms;
};

/* Counters of the thread's; any thread reads. */
struct stream_counts {
    struct tally tally;
    struct metric open;             /* connections at present */
    struct metric accepted;         /* all so far */
    struct metric evicted;          /* closed to make room */
    struct metric expired;          /* closed for being idle or slow */
    struct metric no_descriptor;    /* accepts that the system had no descriptor for */
    struct metric handshakes;       /* done in full */
    struct metric resumed;          /* done from an earlier session */
    struct metric handshake_failed; /* or given up, or too slow */
};

/* Starts the thread on the `n` listening sockets `fds`, which stay the caller's and open until
 * stream_free(). With `tls`, of which a reference is taken, they speak TLS. */
NODISCARD enum err stream_new(struct stream **out, const int *fds, size_t n, SSL_CTX *tls,
                              const struct stream_limits *limits, const struct view *view,
                              struct reader *reader, struct err_info *info);

/* The main thread: uses `tls`, of which a reference is taken, for connections from now on. */
void stream_set_tls(struct stream *s, SSL_CTX *tls);

/* Ends the thread: no connection is served any more, but replies that the reader still has are
 * taken, until stream_free(). */
void stream_stop(struct stream *s);

/* Frees what stream_stop() left; the reader has ended. */
void stream_free(struct stream *s);

struct mailbox *stream_mailbox(struct stream *s);

const struct stream_counts *stream_counts(const struct stream *s);

#endif
