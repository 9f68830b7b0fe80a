/* devices.h - the devices that a relay knows at present, by id: those with a control connection,
 * and those whose clients are still served after it went. One thread. */
#ifndef LANYARD_PROVISIOND_RELAY_DEVICES_H
#define LANYARD_PROVISIOND_RELAY_DEVICES_H

#include <sys/queue.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/pki/devid.h"
#include "provisiond/relay/turns.h"

struct circuit;
struct control;

struct device {
    LIST_ENTRY(device) bucket;
    struct devid id;
    struct control *control; /* NULL: it is away */
    size_t n_circuits;
    LIST_HEAD(, circuit) waiting; /* those that it is to dial back for */
    int64_t dial_tat;             /* bucket of new clients: see gcra.h */
    struct turns_member member;
};

struct devices; /* opaque */

NODISCARD enum err devices_new(struct devices **out);

/* With every device; nobody may have one any more. */
void devices_free(struct devices *d);

/* NULL when it is not known. */
struct device *devices_find(struct devices *d, const struct devid *id);

/* Found or made. Errors: ERR_NOMEM. */
NODISCARD enum err devices_get(struct device **out, struct devices *d, const struct devid *id);

/* Forgets a device that has neither control connection nor circuits. */
void devices_release(struct device *dev);

#endif
