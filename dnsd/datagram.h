/* datagram.h - what becomes of one question that came as a datagram, whichever way it came. A
 * worker's own thread. */
#ifndef LANYARD_DNSD_DATAGRAM_H
#define LANYARD_DNSD_DATAGRAM_H

#include "dnsd/core/query.h"
#include "dnsd/tally.h"

/* Every so many batches one is timed: a clock read for each would cost more than a small answer. */
#define DATAGRAM_TIMED_EVERY 64

/* Answers `request` into `reply`, where it may lie itself, and counts that in `tally`. A question
 * that only a store can answer is handed to defer(arg, challenge), which says whether it took it.
 * Returns the length of the reply; 0 when there is none, or not yet. */
static inline size_t datagram_answer(struct query_ctx *ctx, struct tally *tally, uint8_t *reply,
                                     size_t cap, struct span request, const struct peer *peer,
                                     bool (*defer)(void *arg, const struct query_challenge *c),
                                     void *arg)
{
    size_t len = query_answer(ctx, reply, cap, request, peer);
    if (len == 0 && !ctx->deferred) {
        metric_add(ctx->verdict == RRL_DROP ? &tally->limited : &tally->unanswered, 1);
        return 0;
    }
    if (len == 0 && defer(arg, &ctx->challenge))
        return 0;
    if (len == 0)
        len = query_end_challenge(&ctx->challenge, NULL, 0, NULL, reply, cap);
    if (ctx->verdict == RRL_SLIP)
        metric_add(&tally->slipped, 1);
    tally_reply(tally, &ctx->question, reply);
    return len;
}

#endif
