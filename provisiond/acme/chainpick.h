/* chainpick.h - the choice among the chains that a CA offers for one certificate. Pure; any thread.
 * [RFC 8555 s7.4.2] */
#ifndef LANYARD_PROVISIOND_ACME_CHAINPICK_H
#define LANYARD_PROVISIOND_ACME_CHAINPICK_H

#include <stdbool.h>

#include "common/base/span.h"
#include "provisiond/issuer.h"

/* The target of a Link header with rel="alternate", of which `base` is the page: absolute, or a
 * path at the same host. False when it is no such link, or too long; `out` is then undefined. */
bool chainpick_alternate(const char *link, const char *base, char out[ISSUER_URL_MAX]);

/* Whether the certificate at the top of the chain was issued by `wanted`: a common name, or a key
 * identifier of 40 hexadecimal digits, with or without colons. False for what is no chain. */
bool chainpick_matches(struct span pem, const char *wanted);

#endif
