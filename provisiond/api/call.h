/* call.h - one request of a device under way: from the handler to the answer. Private to api/. */
#ifndef LANYARD_PROVISIOND_API_CALL_H
#define LANYARD_PROVISIOND_API_CALL_H

#include "common/base/buf.h"
#include "common/net/httpd.h"
#include "common/pki/devid.h"
#include "provisiond/api/api.h"
#include "provisiond/api/requeststats.h"
#include "provisiond/core/gcra.h"
#include "provisiond/store/certificate.h"
#include "provisiond/store/device.h"
#include "provisiond/store/jobs.h"
#include "provisiond/store/order.h"

struct call {
    struct job job; /* first: the job of the store is the call */
    struct api *api;
    const char *method, *path; /* of its route */
    struct httpd_req *req;     /* NULL once the client is gone */
    struct devid id;
    uint8_t spki_sha256[SPKI_HASH_LEN]; /* of the identity key */
    const struct config_zone *zone;
    struct device_row device;
    /* enrol */
    bool has_token, fresh;
    uint8_t token_hash[TOKEN_HASH_LEN];
    /* certificate */
    struct buf body;
    struct order_row order;
    enum order_submit submit;
    struct certificate_row cert;
    struct buf chain;
    int64_t wait_until_ms; /* monotonic; 0: answer at once */
    struct loop_timer *timer;
    struct call *prev, *next; /* among those who wait */
    bool waiting;
};

struct api {
    struct api_parts parts;
    struct gcra_table *enroll_limit;  /* new devices by source prefix */
    struct gcra_table *request_limit; /* requests by identity */
    struct requeststats stats;
    struct call *waiters;
    bool stopping; /* nobody waits any more */
};

/* The routes; each owns the call and ends it. */
void post_enroll(struct call *c);
void post_certificate(struct call *c);
void get_certificate(struct call *c);
void delete_device(struct call *c);

/* Queues c->job with `run`; `done` is called on the loop, also when the client is gone. */
void call_store(struct call *c, enum err (*run)(struct job *j, void *ctx),
                void (*done)(struct job *j, enum err e));

/* Ends the call with an answer, which goes nowhere when the client is gone. */
void call_respond(struct call *c, int status, const char *type, struct span body);
void call_problem(struct call *c, int status, const char *type, const char *detail,
                  int64_t retry_after_s);

/* Puts the call, whose timer is set, among those that api_on_change() wakes; and takes it off. */
void call_start_waiting(struct call *c);
void call_stop_waiting(struct call *c);

/* Ends the call with 503 for a store that failed, or 500 for anything else unforeseen. */
void call_store_failed(struct call *c, enum err e);

/* On the store thread: c->device, which must be admitted. ERR_NOTFOUND when it is not (or
 * forgotten), ERR_DENIED when suspended. Notes that it was here. */
NODISCARD enum err call_check_device(struct call *c, struct sql *db, int64_t now_s);

/* Answers the errors of call_check_device(); false for any other. Ends the call when true. */
bool call_device_refused(struct call *c, enum err e);

#endif
