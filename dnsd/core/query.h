/* query.h - the answer path: request bytes in, reply bytes out.
 *
 * query_answer() makes no system call, takes no lock, reads no clock and allocates nothing: its
 * scratch is the caller's query_ctx, one for each thread. The one exception is a signature that is
 * not kept yet, for a client that asks a signed zone for signatures: OpenSSL allocates while it
 * makes one, and now and then asks the kernel for randomness. The zones come from an immutable
 * view. The only questions it cannot answer alone are those for challenge values, which live in a
 * store: they are left in ctx->challenge, for a reader thread that ends them with
 * query_end_challenge().
 */
#ifndef LANYARD_DNSD_CORE_QUERY_H
#define LANYARD_DNSD_CORE_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/span.h"
#include "dnsd/core/edns.h"
#include "dnsd/core/question.h"
#include "dnsd/core/synth.h"
#include "dnsd/core/view.h"

#define QUERY_REPLY_MIN DNS_UDP_LEN /* the smallest buffer that query_answer() takes */

/* Who asks. */
struct peer {
    bool stream;    /* TCP: the reply may have 65535 bytes, and the address is the client's own */
    bool encrypted; /* TLS: replies are padded for who wants it */
    struct span ip; /* 4 or 16 bytes; empty when unknown: no cookies, no limit */
    unsigned keepalive_ds; /* of a stream: how long it may be idle, tenths of a second */
};

/* A question for challenge values: all that its reply needs besides them. Plain data, except that
 * `zone` and `ahead` are borrowed of the view. */
struct query_challenge {
    const struct zone *zone;
    const struct presigned *ahead; /* of a signed zone */
    int64_t asked_at_s;            /* ctx->now_s at the question */
    size_t limit;                  /* bytes that the reply may have */
    bool edns;
    bool dnssec_ok; /* DO was set */
    bool stream;
    uint64_t client; /* prefix of the client, of rrl_prefix() */
    struct edns_options options;
    char id[SYNTH_ID_LEN + 1];
    uint16_t head_len; /* header and question, as received */
    uint8_t head[DNS_HEADER_LEN + NAME_WIRE_MAX + 4];
};

/* Scratch of one thread. Set `view`, `rrl`, `signer` and `now_s` (Unix seconds; once a batch is
 * enough), the rest is query_answer()'s own. */
struct query_ctx {
    const struct view *view;
    struct rrl *rrl;       /* counts the answers that are not over a stream; NULL for no limit */
    struct signer *signer; /* this thread's; without one, what needs a signature is SERVFAIL */
    int64_t now_s;
    enum rrl_verdict verdict; /* on the last question */
    bool deferred;            /* no reply yet: `challenge` has to be read from the store */
    struct query_challenge challenge;
    struct question question;
    struct edns edns;
    struct edns_options options; /* of the reply */
    bool known;                  /* the client has sent a valid cookie */
    struct name target;          /* of a CNAME that is followed */
};

/* Answers `request` into `out`, which has room for `cap` bytes, at least QUERY_REPLY_MIN, and
 * either does not overlap the request or begins where it does: then the reply takes its place.
 * Returns the length of the reply; 0 when there is none: to be dropped, or ctx->deferred is set. */
NODISCARD size_t query_answer(struct query_ctx *ctx, uint8_t *out, size_t cap, struct span request,
                              const struct peer *peer);

/* The reply to a deferred question: the `n` live values (no more than QUERY_VALUES_MAX are sent),
 * each of at most 255 bytes, as TXT records; none is NODATA. `values` NULL means that the store
 * could not be read: SERVFAIL. `signer` is the calling thread's, for zones that are signed. Returns
 * its length. Any thread. */
#define QUERY_VALUES_MAX 8
NODISCARD size_t query_end_challenge(const struct query_challenge *c, const struct span *values,
                                     size_t n, struct signer *signer, uint8_t *out, size_t cap);

#endif
