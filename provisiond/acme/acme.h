/* acme.h - the issuer of type "acme": one account at any RFC 8555 CA. One loop, its thread.
 * Holds the account key; never sees a device's. Every exchange has a size limit and a deadline; a
 * request that the CA refuses for its nonce is signed again up to four times; one that it refuses
 * because it forgot the account, because the admin tool changed the key, or for a `replaces` or
 * profile that it does not like, is repeated once with that mended. Everything else is left to the
 * order engine, by verdict. */
#ifndef LANYARD_PROVISIOND_ACME_ACME_H
#define LANYARD_PROVISIOND_ACME_ACME_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "provisiond/issuer.h"

/* All are copied but `name`, which is kept. */
struct acme_options {
    const char *name;          /* as configured */
    const char *directory_url; /* https://... */
    const char *ca_file; /* PEM of the roots to trust for the CA's own TLS; NULL: the system's */
    const char *contact; /* "ops@example.org"; NULL: none */
    const char *account_key;  /* path; an EC P-256 key is made there (mode 0600) when missing. The
                                 account's URL is kept beside it, in "<path>.url" */
    const char *eab_kid;      /* external account binding; NULL: none */
    const char *eab_hmac;     /* base64url, as the CA gave it; required with eab_kid */
    const char *user_agent;   /* "lanyard-provisiond/0.1.0" */
    bool agree_terms;         /* the operator agrees to the CA's terms of service */
    const char *prefer_chain; /* CN of the issuer at the top of the chain to choose among the CA's,
                                 or its key identifier in hexadecimal; NULL: the CA's default */
    const char *challenge;    /* type, as challenge.h has it; NULL: "dns-01" */
};

/* On success *out is the caller's: (*out)->ops->free(*out), which ends what is under way without
 * callbacks. Nothing is sent before the first call. Only when memory is short does a callback run
 * inside the call. Errors: ERR_CONFIG (URL, ca_file, EAB, kind of key or challenge), those of
 * key_load_or_make(), ERR_NOMEM. */
NODISCARD enum err acme_issuer_new(struct issuer **out, struct loop *l,
                                   const struct acme_options *o, struct err_info *info);

#endif
