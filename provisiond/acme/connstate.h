/* connstate.h - the inside of a conn. Private to conn.c and registration.c. Loop thread. */
#ifndef LANYARD_PROVISIOND_ACME_CONNSTATE_H
#define LANYARD_PROVISIOND_ACME_CONNSTATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "provisiond/acme/conn.h"
#include "provisiond/acme/nonce.h"

#define CONN_EAB_KEY_MAX 256 /* bytes */

enum req_state {
    REQ_START,          /* to be looked at when the timer fires */
    REQ_WAIT_DIRECTORY, /* until the directory is there, or failed */
    REQ_WAIT_ACCOUNT,   /* until the registration is done, or failed */
    REQ_EXCHANGE,       /* a nonce or the request itself is under way */
    REQ_FAILED,         /* `reply` is to be delivered when the timer fires */
};

struct req {
    struct req *next, **prev;
    struct conn *c;
    enum req_state state;
    struct loop_timer *timer;
    enum conn_target target;
    enum conn_proof proof;
    enum errors_context context;
    const char *accept;
    conn_build_fn *build;
    conn_fn *fn;
    void (*own)(struct conn *c, const struct conn_reply *reply); /* conn's own request */
    void *op;
    EVP_PKEY *cert_key;
    unsigned tries;
    bool reregistered, rekeyed;
    bool fresh;          /* the directory is to be read anew first */
    unsigned generation; /* of the key that it was signed by last */
    struct issuer_reply reply;
    char url[ISSUER_URL_MAX];
    char kid[ISSUER_URL_MAX]; /* the account it was signed for last */
    struct buf payload;
};

struct conn {
    struct loop *loop;
    struct fetch *fetch;
    struct signer *signer;
    const char *name; /* for the log */
    char *directory_url, *contact, *key_path, *eab_kid;
    uint8_t eab_key[CONN_EAB_KEY_MAX];
    size_t eab_key_len;
    bool agree_terms;

    struct message_directory dir;
    int64_t dir_until_ms; /* monotonic; 0: fetch it again */
    bool dir_known, dir_busy;
    int64_t date_s, date_seen_s; /* the CA's clock with the directory, and ours; 0: it said none */

    char account_url[ISSUER_URL_MAX];  /* "" until known */
    char agreed_terms[ISSUER_URL_MAX]; /* "" when that is not known */
    bool account_busy;
    struct issuer_reply refusal; /* of the last registration */
    int64_t refused_until_ms;

    struct nonce_pool nonces;
    struct req *reqs;
};

/* conn.c: queues a request of conn's own, whose reply goes to own(). Errors: ERR_NOMEM. */
NODISCARD enum err conn_post_own(struct conn *c, const struct conn_request *q,
                                 void (*own)(struct conn *c, const struct conn_reply *reply));

/* conn.c: the requests that wait in `state` go on, or end with `failure` where there is one. */
void conn_wake(struct conn *c, enum req_state state, const struct issuer_reply *failure);

/* registration.c: finds or makes the account, unless that is under way or was refused a moment ago.
 * The directory is there. Wakes REQ_WAIT_ACCOUNT in the end. */
void registration_start(struct conn *c);

/* registration.c: the account that was found in an earlier run. */
void registration_load(struct conn *c);

/* registration.c: the CA does not know `kid` any more. */
void registration_forget(struct conn *c, const char *kid);

#endif
