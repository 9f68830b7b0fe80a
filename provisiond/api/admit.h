/* admit.h - the part of an enrolment that POST /v1/enroll and EST share: limits by network, what
 * the device brought, the decision in the database, its audit row. Private to api/. */
#ifndef LANYARD_PROVISIOND_API_ADMIT_H
#define LANYARD_PROVISIOND_API_ADMIT_H

#include "provisiond/api/call.h"

/* What the device brought; all borrowed. */
struct admit_credential {
    struct span token;              /* as text; empty: none */
    STACK_OF(X509) * factory_chain; /* NULL: none */
    struct span factory_proof;
};

/* 0, or the seconds until this network may enrol again. */
int64_t admit_wait_s(struct call *c);

/* Fills in c->request for c->zone. Loop thread; no I/O. */
void admit_prepare(struct call *c, const struct admit_credential *cred);

/* On the store thread: decides into c->admission, and audits it. */
NODISCARD enum err admit_run(struct call *c, struct sql *db, int64_t now_s);

#endif
