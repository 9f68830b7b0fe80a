/* visit.h - one request of a browser under way: from the handler to the answer. Private to
 * discovery/. */
#ifndef LANYARD_PROVISIOND_DISCOVERY_VISIT_H
#define LANYARD_PROVISIOND_DISCOVERY_VISIT_H

#include <jansson.h>

#include "common/base/metric.h"
#include "common/net/httpd.h"
#include "common/pki/devid.h"
#include "provisiond/api/requeststats.h"
#include "provisiond/core/gcra.h"
#include "provisiond/core/jwt.h"
#include "provisiond/core/network.h"
#include "provisiond/discovery/discovery.h"
#include "provisiond/discovery/oidckeys.h"
#include "provisiond/store/pairing.h"
#include "provisiond/store/viewer.h"

struct visit {
    struct job job; /* first: the job of the store is the visit */
    struct discovery *d;
    const char *method, *path; /* of its route */
    struct httpd_req *req;     /* NULL once the client is gone */
    struct addr peer;
    struct ip from;         /* the same, to be compared */
    char id[DEVID_LEN + 1]; /* the device that the path names; "" when that is none */
    /* who asks */
    struct viewer viewer;
    const struct config_zone *zone; /* of an account: the zone whose issuer it is; NULL otherwise */
    char *token;                    /* a JWT that waits for the keys of its issuer; wiped */
    struct jwt jwt;
    size_t issuer; /* its issuer's number */
    struct oidckeys_wait wait;
    void (*go_on)(struct visit *v); /* once it is known who asks */
    /* pairing */
    uint8_t code_hash[PAIRING_HASH_LEN];
    char token_text[TOKEN_TEXT_LEN + 1]; /* the fresh viewer token; wiped */
    enum pairing pairing;
    bool too_many; /* devices of this account */
    /* the answer */
    json_t *answer, *devices;
    bool found;
    struct loop_timer *patience; /* with the store */
    void (*store_done)(struct job *j, enum err e);
};

struct discovery {
    struct discovery_parts parts;
    struct gcra_table *web_limit;                   /* requests by household */
    struct gcra_table *pair_limit, *pair_limit_net; /* codes tried by household and network */
    struct oidckeys *keys;
    struct requeststats stats;
    struct metric pairings[3]; /* by enum pairing */
    int64_t closed_day;        /* on which it was logged that pairing rests */
};

/* The routes; each owns the visit and ends it. */
void visit_nearby(struct visit *v);
void visit_pair(struct visit *v);
void visit_list_devices(struct visit *v);
void visit_adopt_device(struct visit *v);
void visit_show_device(struct visit *v);
void visit_leave_device(struct visit *v);

/* Finds out from the Authorization header who asks, into v->viewer, and calls `go_on`, perhaps
 * later; or ends the visit with 401. */
void visit_identify(struct visit *v, void (*go_on)(struct visit *v));

/* As visit_identify(), for accounts only. */
void visit_identify_account(struct visit *v, void (*go_on)(struct visit *v));

/* pair.c: reads {"code": ...} of the request into v->code_hash and counts the try. False: the visit
 * has ended. */
bool visit_read_code(struct visit *v);

/* pair.c: ends the visit with what is wrong with the code; v->pairing is not PAIRING_TAKEN. */
void visit_refuse_code(struct visit *v);

/* Queues v->job with `run`; `done` is called on the loop, also when the client is gone. A client
 * that would have to wait for long is answered 503, and is then gone. Ends the visit when it fails.
 */
void visit_store(struct visit *v, enum err (*run)(struct job *j, void *ctx),
                 void (*done)(struct job *j, enum err e));

/* Writes an audit row of this visitor, on the store thread in the transaction of the act. */
NODISCARD enum err visit_audit(struct visit *v, struct sql *db, int64_t now_s, const char *action,
                               const char *detail);

/* Ends the visit with an answer, which goes nowhere when the client is gone. */
void visit_respond(struct visit *v, int status, const json_t *body); /* NULL: none */
void visit_problem(struct visit *v, int status, const char *type, const char *detail,
                   int64_t retry_after_s);

/* Ends the visit with 503 for a store that failed, or 500 for anything else unforeseen. */
void visit_store_failed(struct visit *v, enum err e);

/* The same 401 whether there is such a device or not. */
void visit_refuse(struct visit *v, const char *detail);

#endif
