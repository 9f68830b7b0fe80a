/* discovery.h - the discovery API for browsers, on the listener that asks for no certificate: which
 * devices are near, pairing by a code that a device shows, and the devices of a viewer or of an
 * account at the vendor. Nothing is known of a caller but what it brings: no cookies, and no
 * cross-origin credentials. Answers to those who may not see a device do not tell whether there is
 * one. Never logs an id, an address or a token above debug. One loop, its thread. */
#ifndef LANYARD_PROVISIOND_DISCOVERY_DISCOVERY_H
#define LANYARD_PROVISIOND_DISCOVERY_DISCOVERY_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/net/httpd.h"
#include "provisiond/config.h"
#include "provisiond/store/jobs.h"

struct discovery; /* opaque */

struct discovery_parts {
    struct loop *loop;
    const struct config *config; /* borrowed until discovery_free() */
    struct jobs *store;          /* borrowed until discovery_free() */
};

/* Checks the route table first: a route without a rule of who may call it does not start.
 * Errors: ERR_NOMEM, ERR_ILLEGAL, ERR_CONFIG for a CA file that cannot be used. */
NODISCARD enum err discovery_new(struct discovery **out, const struct discovery_parts *parts,
                                 struct err_info *info);

/* The listener must be closed before, and the store's jobs done. */
void discovery_free(struct discovery *d);

/* Whether the request is for this API, by its path. */
bool discovery_has(const struct httpd_req *r);

/* The httpd handler of such requests. */
void discovery_on_request(struct discovery *d, struct httpd_req *r);

/* Appends the metrics. Errors are those of `out`. */
void discovery_write_metrics(const struct discovery *d, struct buf *out);

#endif
