/* persist.h - the records that let certificate authorities issue for every device of a zone without
 * a value for each order: the challenge dns-persist-01. They are the same at
 * _validation-persist.<id> for every id, and so are made ready once, of a file's text, by one
 * thread (this allocates), then never changed, and read by any number of them without a lock.
 * [draft-ietf-acme-dns-persist-02 s4.1] */
#ifndef LANYARD_DNSD_CORE_PERSIST_H
#define LANYARD_DNSD_CORE_PERSIST_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "dnsd/core/zone.h"

#define PERSIST_TTL_S 60
#define PERSIST_MAX 64          /* records; a CA with 16 accounts and two names has 32 */
#define PERSIST_URI_MAX 512     /* bytes of an account's URI */
#define PERSIST_TEXT_MAX 65536u /* bytes of a file */

struct persist {
    struct rrset set; /* TXT, in canonical order, without doubles */
};

/* Reads the text of a file: the issuer domain name of a CA and the URI of an account there, one
 * pair a line; '#' begins a comment. The caller owns *out and calls persist_free().
 * Errors: ERR_CONFIG, `line` is then the line it is about, from 1; ERR_NOMEM. */
NODISCARD enum err persist_parse(struct persist **out, struct span text, unsigned *line,
                                 struct err_info *info);

void persist_free(struct persist *p);

#endif
