/* relays.h - the relays of the configuration, and which of them is a device's. They can be replaced
 * while others look. Any thread. */
#ifndef LANYARD_PROVISIOND_RELAYS_H
#define LANYARD_PROVISIOND_RELAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/dns/iplabel.h"
#include "common/pki/devid.h"
#include "provisiond/core/relaypick.h"
#include "provisiond/core/relayticket.h"

#define RELAYS_MAX 16
#define RELAYS_END_MAX 256 /* "host:port" with the NUL */

/* Where devices can be reached that nobody can reach directly: see provisiond/relay. */
struct relays_entry {
    char name[RELAYTICKET_NAME_MAX + 1];
    struct devid id; /* of the key that the relay proves to devices */
    char control[RELAYS_END_MAX], data[RELAYS_END_MAX]; /* for devices, of one host */
    struct ip address;                                  /* where browsers connect, ... */
    uint16_t port;                                      /* ... at this port */
    struct relayticket_keys keys;
};

struct relays; /* opaque; up to RELAYS_MAX of them */

/* None yet. On success *out is the caller's, who calls relays_free(). Errors: ERR_NOMEM. */
NODISCARD enum err relays_new(struct relays **out);

/* Copies one more. Errors: ERR_LIMIT, ERR_EXISTS when there is one of that name. */
NODISCARD enum err relays_add(struct relays *r, const struct relays_entry *entry);

/* The relay for the device `id`, which cannot reach those of `failed` (NULL: none); false when
 * there are none. Wipe out->keys. */
bool relays_pick(struct relays *r, const struct devid *id, const struct relaypick_failed *failed,
                 struct relays_entry *out);

bool relays_is_empty(struct relays *r);

/* `r` has what `from` has from now on, which nobody else may look at. */
void relays_replace(struct relays *r, const struct relays *from);

/* Wipes and frees; NULL does nothing. */
void relays_free(struct relays *r);

#endif
