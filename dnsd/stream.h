/* stream.h - the thread that answers over TCP. [RFC 7766]
 * Every connection has a deadline: tcp_idle seconds after its last whole question (or after the
 * last byte of a reply that it took) it is closed, however many bytes drip in. When connections run
 * out, of one client or of all, the one that has been idle longest makes room for the new one. A
 * client that does not read its replies is not read from. */
#ifndef LANYARD_DNSD_STREAM_H
#define LANYARD_DNSD_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/view.h"
#include "dnsd/mailbox.h"
#include "dnsd/reader.h"

struct stream; /* opaque */

struct stream_limits {
    unsigned max;        /* connections */
    unsigned client_max; /* connections of one IPv4 address or IPv6 /64 */
    int64_t idle_ms;
};

/* Starts the thread on the `n` listening sockets `fds`, which stay the caller's and open until
 * stream_free(). */
NODISCARD enum err stream_new(struct stream **out, const int *fds, size_t n,
                              const struct stream_limits *limits, const struct view *view,
                              struct reader *reader, struct err_info *info);

/* Ends the thread: no connection is served any more, but replies that the reader still has are
 * taken, until stream_free(). */
void stream_stop(struct stream *s);

/* Frees what stream_stop() left; the reader has ended. */
void stream_free(struct stream *s);

struct mailbox *stream_mailbox(struct stream *s);

#endif
