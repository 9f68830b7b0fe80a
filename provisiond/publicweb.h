/* publicweb.h - what anybody may ask over HTTPS without a certificate: /healthz and /readyz, the
 * discovery API below /v1/, the companion page below /companion/. Never asks a browser for a client
 * certificate. The loop's thread. */
#ifndef LANYARD_PROVISIOND_PUBLICWEB_H
#define LANYARD_PROVISIOND_PUBLICWEB_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/httpd.h"
#include "provisiond/discovery/discovery.h"
#include "provisiond/discovery/pagefiles.h"
#include "provisiond/health.h"

struct publicweb {
    const struct health *health;
    struct discovery *discovery;
    struct pagefiles *companion;
};

/* Checks the route table: a route without a rule of who may call it does not start. Errors:
 * ERR_ILLEGAL. */
NODISCARD enum err publicweb_check(struct err_info *info);

/* The httpd handler; `web` is a struct publicweb. */
void publicweb_on_request(void *web, struct httpd_req *r);

#endif
