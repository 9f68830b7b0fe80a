/* logbudget.h - warnings that a flood cannot turn into a full disk: a few lines of a kind in each
 * period, and then one that says how many were left out. One budget for each kind of line; any
 * thread. */
#ifndef LANYARD_BASE_LOGBUDGET_H
#define LANYARD_BASE_LOGBUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"

#define LOGBUDGET_PERIOD_MS 60000
#define LOGBUDGET_LINES 3 /* in a period */

/* All zero is a fresh budget. */
struct logbudget {
    _Atomic int64_t until_ms; /* end of the period; 0 while there is none */
    atomic_uint n_lines, n_left_out;
};

/* Whether a line may be written at `now_ms` (monotonic). *left_out is how many were left out before
 * it, in a period that is over: to be said in the line. */
NODISCARD bool logbudget_spend(struct logbudget *b, int64_t now_ms, unsigned *left_out);

/* How many lines were left out of a period that is over by now, which nothing has said yet. Call it
 * now and then, so that the end of a flood is logged too. */
NODISCARD unsigned logbudget_take_left_out(struct logbudget *b, int64_t now_ms);

#endif
