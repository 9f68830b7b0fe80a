/* localcrl.h - the revocation list of a local CA, for those in a closed network who look. It is
 * made anew from the whole list each time, with a number that follows the clock, so that several
 * nodes with the same CA make lists of the same content. Blocking file access. [RFC 5280 s5] */
#ifndef LANYARD_PROVISIOND_LOCAL_LOCALCRL_H
#define LANYARD_PROVISIOND_LOCAL_LOCALCRL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "provisiond/local/localca.h"

#define LOCALCRL_LIFE_S ((int64_t)7 * 86400) /* of a list; it is made anew every day */
#define LOCALCRL_FILE "crl.pem"              /* in the folder of the CA */

struct localcrl_entry {
    char serial[64]; /* hexadecimal */
    int reason;      /* of [RFC 5280 s5.3.1]; 0 is left out */
    int64_t at;      /* Unix seconds */
};

/* Writes the list as PEM into the CA's folder, which is closed to others, and, unless `der_path` is
 * NULL, as DER there, for everybody to read. Errors: those of files, ERR_INVALID for a serial
 * number that is none, ERR_CRYPTO, ERR_NOMEM. */
NODISCARD enum err localcrl_write(const struct localca *ca, const struct localcrl_entry *list,
                                  size_t n, int64_t now_s, const char *der_path,
                                  struct err_info *info);

#endif
