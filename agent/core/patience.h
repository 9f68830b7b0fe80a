/* patience.h - when to look again whether an application serves the certificate that it should:
 * soon after a look in vain, since a reload takes its time, and every six hours. Pure; any thread.
 */
#ifndef LANYARD_AGENT_CORE_PATIENCE_H
#define LANYARD_AGENT_CORE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#define PATIENCE_EVERY_MS (INT64_C(6) * 3600 * 1000)

/* Zero it to begin anew. */
struct patience {
    unsigned in_vain; /* looks in a row */
};

/* Notes how a look ended. True when that is a result: it is as it should be, or is not for the
 * fifth time in a row; each round of looks has the same patience. *wait_ms is the time to the next
 * look. */
bool patience_note(struct patience *p, bool good, int64_t *wait_ms);

#endif
