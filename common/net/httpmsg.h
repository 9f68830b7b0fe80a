/* httpmsg.h - one HTTP/1.x request, read from bytes as they come. Pure: no sockets, no clock.
 * Two readers must agree on the head: a gate that knows one spelling of everything (CRLF only, no
 * folding, no space before a colon, no control bytes), and llhttp behind it, in strict mode. What a
 * proxy in front might read in another way is refused, so that nothing can be smuggled
 * [RFC 9112 s11.2]. One thread at a time. */
#ifndef LANYARD_NET_HTTPMSG_H
#define LANYARD_NET_HTTPMSG_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define HTTPMSG_HEADERS_MAX 64  /* fields of one request; more is 431 */
#define HTTPMSG_TARGET_MAX 2048 /* bytes of path and query together; more is 414 */

struct httpmsg; /* opaque */

enum httpmsg_state {
    HTTPMSG_MORE,    /* all bytes taken, the request is not complete */
    HTTPMSG_DONE,    /* complete: the facts below can be read */
    HTTPMSG_REFUSED, /* answer httpmsg_status() and close: where the next request would start is
                        not known */
};

/* A reader for requests of at most `head_max` bytes of request line and header fields, and
 * `body_max` bytes of body. The caller calls httpmsg_free(). Errors: ERR_NOMEM. */
NODISCARD enum err httpmsg_new(struct httpmsg **out, size_t head_max, size_t body_max);
void httpmsg_free(struct httpmsg *m);

/* Ready for the next request. Forgets everything of this one. */
void httpmsg_reset(struct httpmsg *m);

/* Takes bytes of `in`, and never one beyond the end of the request; *used receives how many. After
 * HTTPMSG_DONE and HTTPMSG_REFUSED nothing more is taken until httpmsg_reset(). */
enum httpmsg_state httpmsg_feed(struct httpmsg *m, struct span in, size_t *used);

/* Whether any byte of the request was taken. */
bool httpmsg_is_started(const struct httpmsg *m);

/* Whether the client waits for "100 Continue" before it sends its body: true from the end of the
 * head to the first byte of the body. [RFC 9110 s10.1.1] */
bool httpmsg_wants_continue(const struct httpmsg *m);

/* After HTTPMSG_REFUSED: the status to send (4xx or 5xx) and a fixed sentence, nothing of the
 * request in it. */
int httpmsg_status(const struct httpmsg *m);
const char *httpmsg_why(const struct httpmsg *m);

/* After HTTPMSG_DONE. Borrowed until httpmsg_reset(). */
const char *httpmsg_method(const struct httpmsg *m); /* one of the known ones, upper case */
const char *httpmsg_path(const struct httpmsg *m);   /* without '%', "//", "/./" and "/../" */
const char *httpmsg_query(const struct httpmsg *m);  /* after the '?'; "" when none */
struct span httpmsg_body(const struct httpmsg *m);
bool httpmsg_is_keep_alive(const struct httpmsg *m); /* whether the client expects to go on */

/* Value of field `name` in any case, without the space around it; NULL when absent. Of a list that
 * came in several fields this is the first; other repeated fields were refused. */
const char *httpmsg_header(const struct httpmsg *m, const char *name);

#endif
