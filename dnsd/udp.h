/* udp.h - batches of datagrams: one system call for up to 32 questions, one for their replies. One
 * thread each. */
#ifndef LANYARD_DNSD_UDP_H
#define LANYARD_DNSD_UDP_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"
#include "dnsd/core/query.h"
#include "dnsd/reader.h"
#include "dnsd/tally.h"

#define UDP_BATCH 32

struct udp_batch; /* opaque: the buffers of one thread */

NODISCARD enum err udp_batch_new(struct udp_batch **out);
void udp_batch_free(struct udp_batch *b);

/* A bound socket for `a` into *fd, one of several that share the address. Errors: as listen_udp().
 */
NODISCARD enum err udp_open(int *fd, const struct addr *a, struct err_info *info);

/* Sets up a socket that somebody else bound to `a` as udp_open() does. Closes it on an error. */
NODISCARD enum err udp_adopt(int fd, const struct addr *a, struct err_info *info);

/* Answers what waits at `fd`, up to one batch, and counts it in `tally`; questions for challenges
 * go to `reader`. Returns how many datagrams there were. Never blocks. */
unsigned udp_serve(struct udp_batch *b, int fd, struct query_ctx *ctx, struct reader *reader,
                   struct tally *tally);

/* The send() of a reader_return for a datagram that has to wait. */
void udp_send_later(const struct reader_return *ret, struct span reply);

#endif
