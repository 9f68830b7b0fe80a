/* cohort.h - certificates that a CA issued in the same hour, and which of those hours were alarmed
 * lately: what happens to one certificate (a revocation, an incident) mostly happens to its
 * neighbours too. Pure; one thread at a time. */
#ifndef LANYARD_PROVISIOND_CORE_COHORT_H
#define LANYARD_PROVISIOND_CORE_COHORT_H

#include <stdbool.h>
#include <stdint.h>

#define COHORT_S 3600
#define COHORT_SLOTS 1024 /* hours that are remembered; more of them alarm again */

struct cohort_alarms { /* starts zeroed */
    struct {
        int64_t hour, alarmed_at;
    } slot[COHORT_SLOTS];
};

/* Whether the hour of `not_before` is to be alarmed now; not again for six hours. */
bool cohort_alarm(struct cohort_alarms *c, int64_t not_before, int64_t now_s);

#endif
