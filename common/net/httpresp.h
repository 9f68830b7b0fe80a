/* httpresp.h - the bytes of an HTTP/1.1 response. Pure; one thread at a time per buffer. */
#ifndef LANYARD_NET_HTTPRESP_H
#define LANYARD_NET_HTTPRESP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/span.h"

struct httpresp {
    int status;               /* 200..599 */
    const char *content_type; /* NULL: none */
    const char *headers;      /* lines made by httpresp_add_header(); "" when none */
    struct span body;
    bool head_only;  /* the request was HEAD: Content-Length, but no body */
    bool keep_alive; /* false sends Connection: close */
    int64_t now_s;   /* Unix seconds, for Date */
};

/* Appends a header line. Does nothing when `name` is not a token or `value` has a control byte in
 * it: neither may start a line of its own. */
void httpresp_add_header(struct buf *headers, const char *name, const char *value);

/* Appends the whole response. Errors are those of `out`. */
void httpresp_write(struct buf *out, const struct httpresp *r);

/* Appends the JSON of an RFC 9457 problem; `type` and `detail` as httpd_problem(). */
void httpresp_problem(struct buf *out, int status, const char *type, const char *detail);

#endif
