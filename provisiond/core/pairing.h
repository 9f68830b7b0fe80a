/* pairing.h - the short code that a device shows and a person types: 40 random bits as "ABCD-EFGH",
 * and how many wrong ones may be tried. A code has no public part, so a wrong one is a guess at all
 * that live: each costs as many units as there are live codes, and PAIRING_BUDGET units a day are
 * all that anybody gets. The chance that any code of anybody is guessed is then at most
 * PAIRING_BUDGET / 2^40, below half a millionth a day, however many clients share the work. Pure;
 * any thread. */
#ifndef LANYARD_PROVISIOND_CORE_PAIRING_H
#define LANYARD_PROVISIOND_CORE_PAIRING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define PAIRING_RANDOM_LEN 5  /* bytes */
#define PAIRING_TEXT_LEN 9    /* characters */
#define PAIRING_HASH_LEN 32   /* bytes */
#define PAIRING_BUDGET 500000 /* units a day: two days that touch stay below a millionth */

/* The code's text from fresh random bytes; NUL-terminated. */
void pairing_format(char out[PAIRING_TEXT_LEN + 1], const uint8_t random[PAIRING_RANDOM_LEN]);

/* The hash that is stored and looked up, of a code as people type it: in any case, with or without
 * the hyphen and blanks, 0 for O, 1 for I and 8 for B. Errors: ERR_INVALID when it has not the form
 * of a code. */
NODISCARD enum err pairing_hash(uint8_t out[PAIRING_HASH_LEN], struct span text);

/* Whether one more try is allowed after `spent` units of today, with `n_live` codes live. */
bool pairing_may_try(int64_t spent, int64_t n_live);

#endif
