/* orderstats.h - what became of orders in this process, and how each CA behaves. Numbers only: no
 * id, name or URL of a device. The loop's thread writes, and reads. */
#ifndef LANYARD_PROVISIOND_ORDERSTATS_H
#define LANYARD_PROVISIOND_ORDERSTATS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/metric.h"
#include "provisiond/config.h"
#include "provisiond/core/order.h"
#include "provisiond/issuer.h"

#define ORDERSTATS_VERDICTS (ISSUER_PERMANENT + 1)

struct orderstats_issuer {
    struct metric replies[ORDERSTATS_VERDICTS];
    struct metric issued, lost, refused;
    struct metric secondary; /* validations that failed only as seen from elsewhere (MPIC) */
    unsigned bad_in_a_row;   /* replies that say the CA is away, or that the operator must act */
    int64_t last_good_ms;    /* monotonic; 0: none yet */
};

struct orderstats {
    struct orderstats_issuer issuers[CONFIG_LIST_MAX]; /* by index in the configuration */
    struct metric_histogram stage_ms[ORDER_STATE_N];   /* time in each state, by state left */
    struct metric_histogram whole_ms;                  /* from the claim to the stored chain */
    struct metric under_way;
};

/* A reply of issuer number `issuer`. */
void orderstats_reply(struct orderstats *s, size_t issuer, const struct issuer_reply *r,
                      int64_t now_ms);

/* An order left `from`, where it was for `took_ms`, for `to`. */
void orderstats_moved(struct orderstats *s, size_t issuer, enum order_state from,
                      enum order_state to, int64_t took_ms);

/* Whether the issuer has answered badly several times in a row and not well for ten minutes. */
bool orderstats_is_away(const struct orderstats *s, size_t issuer, int64_t now_ms);

/* Appends the metrics. Errors are those of `out`. */
void orderstats_write(const struct orderstats *s, const struct config *config, struct buf *out);

#endif
