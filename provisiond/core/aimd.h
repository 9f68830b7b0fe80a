/* aimd.h - how many orders may be under way at a CA: more by one for each round that went well,
 * half at each sign of overload. Pure; one thread at a time. Times are monotonic milliseconds. */
#ifndef LANYARD_PROVISIOND_CORE_AIMD_H
#define LANYARD_PROVISIOND_CORE_AIMD_H

#include <stdbool.h>
#include <stdint.h>

struct aimd {
    int64_t limit, max;
    int64_t credit;  /* successes towards the next raise */
    bool stumbled;   /* until then it grows by one for each success */
    int64_t calm_ms; /* no second halving before: one overload is reported by many requests */
};

/* `max` 1 and up. */
void aimd_init(struct aimd *a, int64_t max);
void aimd_succeed(struct aimd *a);
void aimd_fail(struct aimd *a, int64_t now_ms);

#endif
