/* tag.h - the label of a public address, p<tag>-<ip>: the tag proves that whoever has the key of
 * the zone lets this device have a name for this address. Pure; no allocation.
 *
 * A tag is 8 characters of base32: the first 40 bits of SipHash-2-4 over the 32 characters of the
 * device id, a family byte (4 or 6) and the bytes of the address. */
#ifndef LANYARD_DNS_TAG_H
#define LANYARD_DNS_TAG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/siphash.h"
#include "common/base/span.h"
#include "common/dns/iplabel.h"

#define TAG_LEN 8         /* characters */
#define TAG_ID_LEN 32     /* characters of a device id */
#define TAG_PREFIX_LEN 10 /* 'p', the tag, '-' */
#define TAG_KEYS_MAX 2    /* accepted at a time, so that they can be rotated */
#define TAG_LABEL_MAX (TAG_PREFIX_LEN + IPLABEL_TEXT_MAX) /* characters with the NUL */

/* The keys of a zone. Wipe them with explicit_bzero(). */
struct tag_keys {
    unsigned n; /* 1..TAG_KEYS_MAX; the first makes tags, all are accepted */
    uint8_t keys[TAG_KEYS_MAX][SIPHASH_KEY_LEN];
};

/* Reads the text of a key file: a key a line, 32 hexadecimal digits of either case; empty lines and
 * lines that begin with '#' do not count. *out is untouched on an error.
 * Errors: ERR_CONFIG; `line` is then the line it is about, from 1, and `info` never quotes it. */
NODISCARD enum err tag_keys_parse(struct tag_keys *out, struct span text, unsigned *line,
                                  struct err_info *info);

/* Writes the tag of `ip` for the device `id` (TAG_ID_LEN characters, lower case), and a NUL. */
void tag_make(char out[TAG_LEN + 1], const uint8_t key[SIPHASH_KEY_LEN], struct span id,
              const struct ip *ip);

/* Writes the whole label, by the first of `keys`. */
void tag_label(char out[TAG_LABEL_MAX], const struct tag_keys *keys, struct span id,
               const struct ip *ip);

/* Whether `label`, in lower case, has the form of a tag before something: *rest is then the part
 * for iplabel_decode(). */
bool tag_split(struct span label, struct span *rest);

/* Whether the tag of `label`, for which tag_split() held, is that of `ip` and `id` by one of
 * `keys`. The time does not depend on where a wrong tag differs, nor on which key it is. */
bool tag_check(const struct tag_keys *keys, struct span label, struct span id, const struct ip *ip);

#endif
