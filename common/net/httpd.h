/* httpd.h - an HTTP/1.1 server: llhttp over libevent's bufferevents, with or without TLS.
 * One loop, its thread. Everything from the client has a limit and an absolute deadline; whatever
 * llhttp lets through but a proxy in front might read otherwise (a space before the colon, folded
 * headers, bare LF, both Content-Length and Transfer-Encoding, ...) is refused with 400 and a
 * close. No HTTP/2, no compression, no pipelined concurrency: a connection's requests are handled
 * one by one. Never logs header values or bodies. */
#ifndef LANYARD_NET_HTTPD_H
#define LANYARD_NET_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/metric.h"
#include "common/base/span.h"
#include "common/net/addr.h"
#include "common/net/cidr.h"
#include "common/net/loop.h"

struct httpd;     /* one listener; opaque */
struct httpd_req; /* one request, from its last body byte until its response; opaque */

#define HTTPD_SOCKETS_MAX 8 /* that one server listens on */

struct httpd_limits {
    size_t body_max;        /* bytes; larger is 413 */
    size_t head_max;        /* bytes of request line and headers together; larger is 431 */
    int64_t request_ms;     /* first byte to last body byte, absolute; then 408 or a close */
    int64_t idle_ms;        /* between requests; the TLS handshake has the lesser of this and
                               request_ms */
    int64_t write_ms;       /* for the client to take a whole response */
    int64_t handler_ms;     /* for the handler to respond; then 503 is sent in its place */
    size_t connections_max; /* at once; more are closed at accept */
    size_t per_prefix_max;  /* at once from one IPv4 address or IPv6 /64; more are closed */
};

/* 64 KiB, 16 KiB, 15 s, 60 s, 30 s, 130 s, 8192, 256. */
extern const struct httpd_limits HTTPD_LIMITS_DEFAULT;

/* Small pages for few clients: 1 KiB, 8 KiB, 5 s, 15 s, 10 s, 5 s, 64, 32. */
extern const struct httpd_limits HTTPD_LIMITS_PAGES;

/* What one listener has seen; its loop's thread writes, any thread reads. */
struct httpd_counts {
    struct metric open;              /* connections at present */
    struct metric accepted, refused; /* connections so far; closed at once for the limits */
    struct metric handshakes;        /* TLS, complete */
    struct metric handshakes_failed; /* refused, broken off or too slow */
    struct metric requests;          /* handed to the handler */
    struct metric malformed;         /* requests refused before that: bad, too large or too slow */
};

/* Called once for each complete, well-formed request. The handler answers now or later with
 * httpd_respond(); `req` stays valid until then, or until its on_gone call. */
typedef void httpd_handler(void *arg, struct httpd_req *req);

/* A server on the listening socket `fd` (taken over: closed by httpd_free()). `tls` NULL is plain
 * HTTP; otherwise a reference is taken. `limits` NULL is the default. Errors: ERR_NOMEM, ERR_IO. */
NODISCARD enum err httpd_new(struct httpd **out, struct loop *l, int fd, SSL_CTX *tls,
                             const struct httpd_limits *limits, httpd_handler *fn, void *arg);

/* Serves on the listening socket `fd` (taken over on success), too, at most HTTPD_SOCKETS_MAX in
 * all: the same limits hold for all of them together. Errors: ERR_LIMIT, ERR_NOMEM. */
NODISCARD enum err httpd_listen(struct httpd *h, int fd);

/* Borrowed until httpd_free(). */
const struct httpd_counts *httpd_counts(const struct httpd *h);

/* Uses `tls` for connections accepted from now on; the present ones go on. */
void httpd_set_tls(struct httpd *h, SSL_CTX *tls);

/* Connections from the addresses in `from` (copied) are those of load balancers, from now on: each
 * must begin with a PROXY header, version 2, and its peer is whom the header names. From anywhere
 * else a header is as malformed as any. Errors: ERR_NOMEM. */
NODISCARD enum err httpd_set_proxies(struct httpd *h, const struct cidr *from, size_t n);

/* Stops accepting; lets requests under way finish for at most `grace_ms`, then calls fn(arg), later
 * and from the loop. fn may free the server. */
void httpd_drain(struct httpd *h, int64_t grace_ms, void (*fn)(void *arg), void *arg);

/* Closes everything at once. Requests still open get their on_gone call. Not from inside a handler
 * or an on_gone call. NULL does nothing. */
void httpd_free(struct httpd *h);

/* Facts of the request, all borrowed until the response. */
const char *httpd_method(const struct httpd_req *r); /* "GET", upper case */
const char *httpd_path(const struct httpd_req *r);   /* "/v1/enroll": starts with '/', no query; a
                                                        target that is not in origin form, or with
                                                        %, "//", "/./" or "/../" in it, was refused */
const char *httpd_query(const struct httpd_req *r);  /* after the '?', undecoded; "" when none */
struct span httpd_body(const struct httpd_req *r);
const char *httpd_header(const struct httpd_req *r,
                         const char *name); /* any case; NULL when absent;
                                               a repeated one was refused
                                               unless it is a list, whose
                                               first part this is */
const struct addr *httpd_peer(const struct httpd_req *r);
EVP_PKEY *
httpd_peer_key(const struct httpd_req *r); /* key the client proved by TLS; NULL when none */
X509_PUBKEY *httpd_peer_pubkey(const struct httpd_req *r); /* the same, as its certificate has it */

/* The certificates that the client sent, its own first, unchecked; NULL when it sent none or memory
 * is short. The caller frees them: sk_X509_pop_free(chain, X509_free). */
STACK_OF(X509) * httpd_peer_chain(const struct httpd_req *r);

/* Value of parameter `key` in the query, copied (not decoded: values with '%' or '+' are refused)
 * into out; false when absent, refused or too long for cap. */
bool httpd_query_get(const struct httpd_req *r, const char *key, char *out, size_t cap);

/* fn(arg) is called when the client is gone or the deadline passed before the response: `req` is
 * dead after the call. One per request; NULL takes it back. */
void httpd_on_gone(struct httpd_req *r, void (*fn)(void *arg), void *arg);

/* Adds a response header; `name` and `value` are copied. Values with CR or LF are dropped. */
void httpd_add_header(struct httpd_req *r, const char *name, const char *value);

/* Answers and gives up `req`. `content_type` may be NULL with an empty body. The body is copied.
 * Sends Content-Length, Date and, where apt, Connection; never a Server header. */
void httpd_respond(struct httpd_req *r, int status, const char *content_type, struct span body);

/* An RFC 9457 problem document: `type` is a short name such as "csr-extra-name", sent as
 * "urn:lanyard:problem:<type>" (NULL: about:blank), `detail` a sentence in UTF-8. With
 * `retry_after_s` above 0 a Retry-After header is sent as well. Gives up `req`. */
void httpd_problem(struct httpd_req *r, int status, const char *type, const char *detail,
                   int64_t retry_after_s);

#endif
