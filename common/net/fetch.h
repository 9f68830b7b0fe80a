/* fetch.h - an HTTPS client: libcurl's multi interface on our loop. One loop, its thread.
 * https only, TLS 1.2 and up, host and chain verified, no redirects, no proxy from the environment,
 * a cap on the body and a deadline for the whole exchange. */
#ifndef LANYARD_NET_FETCH_H
#define LANYARD_NET_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/net/loop.h"

struct fetch;    /* a connection pool with one TLS identity; opaque */
struct fetch_op; /* one exchange under way; opaque */

/* A clock that knows better than the system's. */
struct fetch_clock {
    int64_t (*now_s)(void *arg);                /* Unix seconds */
    void (*on_date)(void *arg, int64_t date_s); /* a server said it, no cache for it, and
                                                   its certificate is of that time */
    void *arg;
};

struct fetch_options {
    const char *user_agent; /* required, such as "lanyard-agent/0.1.0" */
    const char *ca_file;  /* PEM of the roots trusted instead of the system's; NULL: the system's */
    EVP_PKEY *client_key; /* with client_cert: mutual TLS; references are taken. NULL: none */
    X509 *client_cert;
    bool tls13_only;
    int64_t built_s; /* Unix seconds; with client_key: no certificate of a server that ended before
                        is good, whatever the clock says; 0: not looked at */
    const struct fetch_clock
        *clock;             /* copied; with client_key: a server's certificate is good, too,
                               that is so by this clock; NULL: by the system's alone */
    size_t connections_max; /* exchanges at once; what is more waits its turn, in order, and its
                               time limit begins with it; 0: 8 */
};

struct fetch_request {
    const char *method;         /* "GET", "POST", "PUT", "DELETE", "HEAD" */
    const char *url;            /* https://... */
    const char *const *headers; /* "Name: value" lines, NULL-terminated; NULL: none */
    struct span body;           /* copied; empty: none (POST then sends Content-Length: 0) */
    size_t body_max;            /* bytes of response body accepted; more is ERR_LIMIT */
    int64_t timeout_ms;         /* for the whole exchange */
    int family;                 /* 4 or 6: by this family only; 0: by whichever works */
    const char *source;         /* the address of ours that it is to come from; NULL: any */
};

struct fetch_result {
    enum err e;           /* ERR_OK: a complete HTTP response came, whatever its status */
    struct err_info info; /* the sentence when e is not ERR_OK: names host and cause, no secret */
    int status;
    struct span body; /* borrowed during the callback */
    int fd;           /* of fetch_connect(): the callback's from now on; otherwise -1 */
    const struct fetch_op *op;
};

/* Errors: ERR_NOMEM, ERR_CONFIG when ca_file cannot be read or libcurl is not built with OpenSSL.
 */
NODISCARD enum err fetch_new(struct fetch **out, struct loop *l, const struct fetch_options *o,
                             struct err_info *info);

/* Cancels what is under way (without callbacks) and frees the pool. Not from inside a callback of
 * one of its exchanges: loop_post() it. NULL does nothing. */
void fetch_free(struct fetch *f);

/* Starts an exchange. `fn` is called exactly once, later, from the loop, never from inside
 * fetch_start(). e is one of ERR_OK, ERR_TIMEOUT, ERR_UNAVAILABLE (no connection, reset),
 * ERR_CRYPTO (TLS: certificate or handshake), ERR_LIMIT, ERR_REMOTE (not HTTP), ERR_NOMEM. *op
 * (optional) can be given to fetch_cancel() until the callback. Errors: ERR_INVALID for a URL that
 * is not https, ERR_NOMEM; there is then no callback. */
NODISCARD enum err fetch_start(struct fetch *f, const struct fetch_request *r,
                               void (*fn)(void *arg, const struct fetch_result *res), void *arg,
                               struct fetch_op **op);

/* What begins from now on uses no connection that is there: it may be from an address that is ours
 * no longer, which nothing would tell. */
void fetch_leave_connections(struct fetch *f);

/* Connects to `end`, "host:port", by TCP and no more: every address of the host is tried, of both
 * families side by side [RFC 8305]. The result is as of fetch_start(), with a socket and without
 * status and body. */
NODISCARD enum err fetch_connect(struct fetch *f, const char *end, int64_t timeout_ms,
                                 void (*fn)(void *arg, const struct fetch_result *res), void *arg,
                                 struct fetch_op **op);

/* Ends the exchange without a callback; also from inside the callback of another one, but not from
 * inside its own. NULL does nothing. */
void fetch_cancel(struct fetch_op *op);

/* A response header of any case, whitespace trimmed; NULL when absent; the last when repeated.
 * Borrowed during the callback. */
const char *fetch_header(const struct fetch_result *res, const char *name);

/* The same for a header that may be there several times: the one at `index`, from 0; NULL after the
 * last. */
const char *fetch_header_at(const struct fetch_result *res, const char *name, size_t index);

/* The Date header, Unix seconds; 0 when absent or nonsense. [RFC 9110 s6.6.1] */
int64_t fetch_date(const struct fetch_result *res);

/* Seconds to wait from a Retry-After header, in seconds or as an HTTP date seen at `now_s`; clamped
 * to 0..max_s; `absent_s` when there is none or it makes no sense. [RFC 9110 s10.2.3] */
int64_t fetch_retry_after(const struct fetch_result *res, int64_t now_s, int64_t max_s,
                          int64_t absent_s);

#endif
