/* relaygrant.h - what the service says about this device's relay, in its answer to a report. All of
 * it comes from outside. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_RELAYGRANT_H
#define LANYARD_AGENT_CORE_RELAYGRANT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/pki/devid.h"

#define RELAYGRANT_NAME_MAX 61 /* bytes with the NUL */
#define RELAYGRANT_END_MAX 256 /* "host:port" */
#define RELAYGRANT_TICKET_MAX 129
#define RELAYGRANT_URL_MAX 320

struct relaygrant {
    char name[RELAYGRANT_NAME_MAX]; /* for people */
    struct devid id;                /* of the key that the relay must prove */
    char control[RELAYGRANT_END_MAX];
    uint16_t data_port; /* of the same host */
    char ticket[RELAYGRANT_TICKET_MAX];
    char url[RELAYGRANT_URL_MAX]; /* where browsers come: below a name of this device */
};

/* Reads the member "relay" of `body`, JSON, for the device `id` in `zone`. Errors: ERR_NOTFOUND
 * when there is no relay; ERR_INVALID. *out is then untouched. */
NODISCARD enum err relaygrant_parse(struct relaygrant *out, struct span body, const char *id,
                                    const char *zone);

/* Whether both name the same relay, whatever their tickets. */
bool relaygrant_same(const struct relaygrant *a, const struct relaygrant *b);

#endif
