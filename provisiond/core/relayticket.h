/* relayticket.h - what lets a device use a relay for a while: "<expiry>.<mac>", the mac being
 * HMAC-SHA-256, with a key that provisiond and the relay have, over the relay's name, the device id
 * and the expiry. A ticket is no secret of the device: the relay takes it only from whoever proves
 * the key of that id. Pure; any thread. */
#ifndef LANYARD_PROVISIOND_CORE_RELAYTICKET_H
#define LANYARD_PROVISIOND_CORE_RELAYTICKET_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/pki/devid.h"

#define RELAYTICKET_KEY_LEN 32  /* bytes */
#define RELAYTICKET_KEYS_MAX 2  /* accepted at a time, so that they can be rotated */
#define RELAYTICKET_TEXT_MAX 72 /* characters of a ticket with the NUL */
#define RELAYTICKET_NAME_MAX 60 /* characters of a relay's name */

/* Wipe them with explicit_bzero(). */
struct relayticket_keys {
    unsigned n; /* 1..RELAYTICKET_KEYS_MAX; the first makes tickets, all are accepted */
    uint8_t keys[RELAYTICKET_KEYS_MAX][RELAYTICKET_KEY_LEN];
};

/* Reads the text of a key file: a key a line, 64 hexadecimal digits of either case; empty lines and
 * what follows a '#' do not count. *out is untouched on an error. Errors: ERR_CONFIG; `info` says
 * which line and never quotes it. */
NODISCARD enum err relayticket_keys_parse(struct relayticket_keys *out, struct span text,
                                          struct err_info *info);

/* Whether `name` can be a relay's: 1 to RELAYTICKET_NAME_MAX characters of [a-z0-9-]. */
bool relayticket_is_name(const char *name);

/* Writes the ticket for `id` at the relay `name` until `expires_at`, Unix seconds. */
NODISCARD enum err relayticket_make(char out[RELAYTICKET_TEXT_MAX],
                                    const struct relayticket_keys *keys, const char *name,
                                    const struct devid *id, int64_t expires_at);

/* Checks a ticket at `now_s`; *expires_at is set on success. Errors: ERR_INVALID (not a ticket),
 * ERR_DENIED (not for this relay and device, or by no key of ours), ERR_TIMEOUT (expired). */
NODISCARD enum err relayticket_check(const struct relayticket_keys *keys, const char *name,
                                     const struct devid *id, struct span text, int64_t now_s,
                                     int64_t *expires_at);

#endif
