/* api.h - the client of the service's device API: one exchange at a time, with the device's
 * identity, on our loop. What the answers mean is in core/answer.h. One loop, its thread. */
#ifndef LANYARD_AGENT_API_H
#define LANYARD_AGENT_API_H

#include <stdint.h>

#include "agent/core/answer.h"
#include "agent/core/truetime.h"
#include "agent/identity.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/fetch.h"
#include "common/net/loop.h"

struct api; /* opaque */

struct api_result {
    struct answer answer;  /* no answer at all is ANSWER_FAILED, too */
    int64_t retry_after_s; /* from the header; -1: not said */
};

/* What admits the device; NULL for what it does not have. */
struct api_enrolment {
    const char *zone, *token;
    const char *factory_chain; /* PEM */
    const char *factory_proof; /* base64url */
};

/* How an exchange is to go. */
struct api_way {
    int family;         /* 4 or 6; 0: whichever works */
    const char *source; /* the address of ours that it comes from; NULL: any */
};

typedef void api_fn(void *arg, const struct api_result *res);

/* The connections of all clients: with the device's identity, to a service with a certificate from
 * `ca_file` (NULL: the system's roots), which is good by `time`, too, and sets it by its answers
 * (borrowed; NULL: neither). End with fetch_free(), after the clients.
 * Errors: ERR_CONFIG when ca_file cannot be used, ERR_NOMEM. */
NODISCARD enum err api_pool_new(struct fetch **out, struct loop *l, const char *ca_file,
                                const struct identity *id, struct truetime *time,
                                struct err_info *info);

/* A client of `server` ("https://host:port") over the connections of `pool`. Errors: ERR_NOMEM. */
NODISCARD enum err api_new(struct api **out, struct loop *l, struct fetch *pool,
                           const char *server);

/* Each starts one exchange and drops the one under way, if any. fn(arg, ...) is called once, later;
 * a failure to start is reported the same way. */
void api_enroll(struct api *a, const struct api_enrolment *what, api_fn *fn, void *arg);
void api_submit(struct api *a, struct span csr_pem, api_fn *fn, void *arg);
void api_poll(struct api *a, api_fn *fn, void *arg); /* long: up to a minute */
void api_renewal(struct api *a, api_fn *fn, void *arg);
void api_report(struct api *a, const struct api_way *way, struct span json, api_fn *fn, void *arg);
void api_delete(struct api *a, api_fn *fn, void *arg);
void api_pairing(struct api *a, api_fn *fn, void *arg);
void api_unpair(struct api *a, api_fn *fn, void *arg);

/* Drops the exchange under way without a call. */
void api_cancel(struct api *a);

void api_free(struct api *a);

#endif
