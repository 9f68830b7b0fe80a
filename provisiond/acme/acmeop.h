/* acmeop.h - the calls of an acme issuer under way. Private to acme.c and upkeep.c. Loop thread. */
#ifndef LANYARD_PROVISIOND_ACME_ACMEOP_H
#define LANYARD_PROVISIOND_ACME_ACMEOP_H

#include "provisiond/acme/challenge.h"
#include "provisiond/acme/conn.h"
#include "provisiond/issuer.h"

struct acme {
    struct issuer is; /* first */
    struct conn *conn;
    const struct challenge_kind *challenge;
    char *prefer_chain; /* NULL: none */
};

/* One call of the interface, until its reply. Begins every struct that is a conn_request's op. */
struct op {
    struct acme *acme;
    union issuer_fn fn;
    void *arg;
};

/* acme.c: hands a copy of `model` (a struct that begins with an op, of `size` bytes) and the
 * request to the connection; without memory the reply comes at once. */
void op_post(const struct op *model, size_t size, struct conn_request *q);

/* As op_post(), for a payload that was built into `payload`, which is cleared. */
void op_post_payload(const struct op *model, size_t size, struct conn_request *q,
                     struct buf *payload);

/* upkeep.c: what is not about orders. */
void upkeep_renewal_info(struct issuer *is, const char *cert_id, issuer_window_fn *fn, void *arg);
void upkeep_revoke(struct issuer *is, const struct issuer_revocation *what, issuer_done_fn *fn,
                   void *arg);
void upkeep_account(struct issuer *is, enum issuer_account_act act, issuer_account_fn *fn,
                    void *arg);
void upkeep_probe(struct issuer *is, issuer_done_fn *fn, void *arg);
void upkeep_facts(const struct issuer *is, struct issuer_facts *out);

#endif
