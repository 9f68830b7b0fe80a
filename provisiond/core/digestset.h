/* digestset.h - a list of 32-byte values out of a text file, for a look-up: hashes of keys, or ids
 * of devices. Pure; not changed once parsed, so any thread. */
#ifndef LANYARD_PROVISIOND_CORE_DIGESTSET_H
#define LANYARD_PROVISIOND_CORE_DIGESTSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define DIGESTSET_LEN 32 /* bytes of an entry */

enum digestset_form {
    DIGESTSET_HEX, /* 64 hexadecimal digits, either case */
    DIGESTSET_ID,  /* a device id: its 32 characters are the entry */
};

struct digestset; /* opaque; 32 bytes an entry */

/* One entry a line; blanks around it, empty lines and what follows a '#' do not count. The caller
 * calls digestset_free(). Errors: ERR_INVALID with the number of the line, ERR_NOMEM. */
NODISCARD enum err digestset_parse(struct digestset **out, struct span text,
                                   enum digestset_form form, struct err_info *info);
void digestset_free(struct digestset *s);

/* NULL is the empty set. */
bool digestset_has(const struct digestset *s, const uint8_t entry[DIGESTSET_LEN]);
size_t digestset_count(const struct digestset *s);

#endif
