/* account.h - the account URL kept beside the account key, in "<key>.url". It only saves a request:
 * when the file is lost, or belongs to another directory or key, the CA tells the URL again.
 * [RFC 8555 s7.3.1] Blocking file access; one thread. */
#ifndef LANYARD_PROVISIOND_ACME_ACCOUNT_H
#define LANYARD_PROVISIOND_ACME_ACCOUNT_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "provisiond/issuer.h"

struct account_id {
    const char *key_path;
    const char *directory_url;
    const char *thumbprint; /* of the key: an operator may have replaced it */
};

/* The stored URL. Errors: ERR_NOTFOUND when there is none for this directory and key, or none that
 * can be read. */
NODISCARD enum err account_load(const struct account_id *id, char url[ISSUER_URL_MAX]);

/* Stores `url` durably. Errors: those of file_write_atomic(). */
NODISCARD enum err account_save(const struct account_id *id, const char *url,
                                struct err_info *info);

/* The same for the URL of the terms of service that were agreed to at that directory, in
 * "<key>.terms". */
NODISCARD enum err account_load_terms(const struct account_id *id, char url[ISSUER_URL_MAX]);
NODISCARD enum err account_save_terms(const struct account_id *id, const char *url,
                                      struct err_info *info);

#endif
