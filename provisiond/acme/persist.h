/* persist.h - the record of the challenge dns-persist-01, which stands at _validation-persist.<id>
 * and says that an account may have certificates for the name and for all below it. dnsd makes the
 * same text of a line of its file. Pure; any thread. [draft-ietf-acme-dns-persist-02 s4.1] */
#ifndef LANYARD_PROVISIOND_ACME_PERSIST_H
#define LANYARD_PROVISIOND_ACME_PERSIST_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "provisiond/issuer.h"

/* The account's URI in such records. `hash_prefix` is what the CA's directory says, and the URI
 * then is that with a hash which stands for any name, so that one record does for all devices; ""
 * where it says nothing (drafts 00 and 01): the account's URL. `thumbprint` is of the account's
 * key. Errors: ERR_LIMIT when it is too long. */
NODISCARD enum err persist_uri(char out[ISSUER_URL_MAX], const char *hash_prefix,
                               const char *thumbprint, const char *account_url);

/* The record for a CA that is known by `domain`. Errors: ERR_LIMIT when it is too long. */
NODISCARD enum err persist_record(char out[ISSUER_TXT_MAX], const char *domain, const char *uri);

#endif
