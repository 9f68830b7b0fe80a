/* call.h - one request of a device under way: from the handler to the answer. Private to api/. */
#ifndef LANYARD_PROVISIOND_API_CALL_H
#define LANYARD_PROVISIOND_API_CALL_H

#include <jansson.h>

#include "common/base/buf.h"
#include "common/net/httpd.h"
#include "common/pki/cert.h"
#include "common/pki/devid.h"
#include "provisiond/api/admitlists.h"
#include "provisiond/api/api.h"
#include "provisiond/api/requeststats.h"
#include "provisiond/core/admission.h"
#include "provisiond/core/csr.h"
#include "provisiond/core/gcra.h"
#include "provisiond/core/pairing.h"
#include "provisiond/store/certificate.h"
#include "provisiond/store/current.h"
#include "provisiond/store/device.h"
#include "provisiond/store/jobs.h"
#include "provisiond/store/order.h"
#include "provisiond/store/report.h"
#include "provisiond/store/revocation.h"

struct call {
    struct job job; /* first: the job of the store is the call */
    struct api *api;
    const char *method, *path; /* of its route */
    struct httpd_req *req;     /* NULL once the client is gone */
    struct devid id;
    uint8_t spki_sha256[SPKI_HASH_LEN]; /* of the identity key */
    const struct config_zone *zone;
    struct device_row device;
    struct addr peer;
    bool anonymous; /* no identity: only where the route's rule lets anyone in */
    /* enrol */
    struct device_request request;
    uint8_t token_hash[TOKEN_HASH_LEN], factory_spki_sha256[SPKI_HASH_LEN];
    char factory_serial[FACTORY_SERIAL_MAX];
    enum admission admission;
    int64_t token_id;
    /* revoke */
    enum revocation_reason reason;
    char serial[64]; /* "": all of the device's */
    int64_t n_revoking;
    /* EST */
    bool est;        /* answer in its forms */
    char label[256]; /* of the path, "" when none */
    /* certificate */
    struct buf body;
    size_t rsa_modulus_len; /* of the key in it; 0: no RSA key */
    uint8_t rsa_modulus[CSR_RSA_BYTES_MAX];
    char refusal[128]; /* what is wrong with a request that is audited first */
    struct order_row order;
    enum order_submit submit;
    struct certificate_row cert;
    bool revoked; /* cert is, for `reason` */
    struct buf chain;
    /* renewal */
    bool has_current;
    struct current_row current;
    /* pairing */
    char code[PAIRING_TEXT_LEN + 1];
    int64_t code_expires_at;
    /* report */
    struct ip from; /* the address of the connection */
    struct report_row report;
    struct relaypick_failed relay_failed;
    size_t n_observed;
    struct observed_row observed[OBSERVED_MAX];
    int64_t wait_until_ms; /* monotonic; 0: answer at once */
    struct loop_timer *timer;
    struct loop_timer *patience; /* with the store */
    void (*store_done)(struct job *j, enum err e);
    struct call *prev, *next; /* among those who wait */
    bool waiting;
};

struct api {
    struct api_parts parts;
    struct gcra_table *enroll_limit, *enroll_limit_net; /* enrolments by household and network */
    struct gcra_table *request_limit;                   /* requests by identity */
    struct admitlists *lists;
    struct requeststats stats;
    struct call *waiters;
    bool stopping; /* nobody waits any more */
};

/* The routes; each owns the call and ends it. */
void post_enroll(struct call *c);
void post_certificate(struct call *c);
void get_certificate(struct call *c);
void get_renewal(struct call *c);
void put_report(struct call *c);
void delete_device(struct call *c);
void post_pairing(struct call *c);
void delete_viewers(struct call *c);
void post_revoke(struct call *c);
void get_est_cacerts(struct call *c);
void get_est_csrattrs(struct call *c);
void post_est_simpleenroll(struct call *c);
void post_est_simplereenroll(struct call *c);

/* certificate.c: judges the CSR in c->body, of the admitted device in c->device, and submits it.
 * With c->est the answer has EST's form. */
void certificate_submit(struct call *c);

/* renewal.c: what is known of the renewal of c->device's certificate, on the store thread; and as
 * JSON, NULL when out of memory, once c->has_current says that there is one. */
NODISCARD enum err renewal_load(struct call *c, struct sql *db, int64_t now_s);
json_t *renewal_json(const struct call *c);

/* est.c: ends the call with the certificate in c->chain in EST's form. */
void est_respond_chain(struct call *c);

/* Queues c->job with `run`; `done` is called on the loop, also when the client is gone. A client
 * that would have to wait for long is answered 503, and is then gone. Ends the call when it fails.
 */
void call_store(struct call *c, enum err (*run)(struct job *j, void *ctx),
                void (*done)(struct job *j, enum err e));

/* Ends the call with an answer, which goes nowhere when the client is gone. */
void call_respond(struct call *c, int status, const char *type, struct span body);
/* The same with an object, which it takes; NULL stands for memory that ran short. */
void call_respond_json(struct call *c, int status, json_t *body);
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

/* Writes an audit row of this caller, on the store thread in the transaction of the act; the detail
 * is cut to AUDIT_DETAIL_MAX and must not hold a secret. _rarely: at most once an hour. */
NODISCARD enum err call_audit(struct call *c, struct sql *db, int64_t now_s, const char *action,
                              const char *fmt, ...) PRINTF_LIKE(5, 6);
NODISCARD enum err call_audit_rarely(struct call *c, struct sql *db, int64_t now_s,
                                     const char *action, const char *detail);

/* Answers the errors of call_check_device(); false for any other. Ends the call when true. */
bool call_device_refused(struct call *c, enum err e);

#endif
