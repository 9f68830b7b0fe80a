/* readback.h - asks every name server of a zone whether it answers the challenge values already:
 * the fact that is waited for before the CA is asked, instead of a sleep. One loop, its thread. */
#ifndef LANYARD_PROVISIOND_READBACK_H
#define LANYARD_PROVISIOND_READBACK_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/config.h"

struct readback; /* one pass over the name servers; opaque */

/* One question to each name server of `zone` for the TXT values of `name`. fn is called once,
 * later: ERR_OK when each answered all `n` values (compared to the byte), ERR_AGAIN when one does
 * not yet, with a sentence that names it. The at most ISSUER_NAMES_MAX texts of `values` are
 * borrowed until then, and *out can be given to readback_cancel(). Errors: ERR_NOMEM. */
NODISCARD enum err readback_start(struct readback **out, struct loop *l,
                                  const struct config_zone *zone, const char *name,
                                  const char *const *values, size_t n,
                                  void (*fn)(void *arg, enum err e, const char *sentence),
                                  void *arg);

/* Ends the pass without a callback. NULL does nothing. */
void readback_cancel(struct readback *rb);

#endif
