#include "common/net/httpmsg.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <llhttp.h>

#include "common/base/buf.h"

/* One-byte chunks cost six bytes for one: whoever is worse than that only wastes our time. */
#define CHUNKED_WIRE_FACTOR 8

struct field {
    char *name, *value; /* inside the head, NUL-terminated once llhttp is through with it */
    size_t name_len, value_len;
};

/* Where in the head the gate is. */
enum gate {
    GATE_START,   /* first byte of the request */
    GATE_REQUEST, /* in the request line */
    GATE_CR,      /* after the CR of a line */
    GATE_LINE,    /* first byte of a field line */
    GATE_NAME,
    GATE_VALUE,
    GATE_END_CR, /* after the CR of the empty line */
    GATE_END,
};

enum body_mode { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_LAST_CR, BODY_LAST_LF };

struct httpmsg {
    llhttp_t parser;
    size_t head_max;
    struct buf head; /* as received; then cut into strings in place */
    struct buf body;
    enum gate gate;
    enum body_mode mode;
    size_t body_len;   /* BODY_LENGTH: what Content-Length says */
    size_t wire_left;  /* BODY_CHUNKED: bytes that may still come, framing included */
    unsigned n_spaces; /* in the request line */
    size_t n_lines;    /* field lines that the gate saw */
    uint16_t flags;    /* llhttp's, at the end of the head */
    bool headers_complete, expects_continue, keep_alive;
    bool body_started;
    char *target, *query;
    size_t target_len;
    struct field fields[HTTPMSG_HEADERS_MAX];
    size_t n_fields;
    enum httpmsg_state state;
    int status;
    const char *why;
};

static enum httpmsg_state refuse(struct httpmsg *m, int status, const char *why)
{
    if (m->state != HTTPMSG_REFUSED) {
        m->state = HTTPMSG_REFUSED;
        m->status = status;
        m->why = why;
    }
    return HTTPMSG_REFUSED;
}

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* [RFC 9110 s5.6.2] */
static bool is_tchar(uint8_t c)
{
    return is_alnum(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_value_char(uint8_t c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

/* --- llhttp's callbacks -------------------------------------------------------------------- */

/* llhttp may hand a text over in several pieces; the head is one buffer, so they join. */
static int join(char **p, size_t *len, const char *at, size_t n, struct httpmsg *m)
{
    if (*p == NULL)
        *p = (char *)m->head.p + ((const uint8_t *)at - m->head.p);
    if (*p + *len != at)
        return HPE_USER;
    *len += n;
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    struct httpmsg *m = parser->data;
    return join(&m->target, &m->target_len, at, n, m);
}

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct httpmsg *m = parser->data;
    if (m->n_fields == HTTPMSG_HEADERS_MAX) {
        (void)refuse(m, 431, "too many header fields");
        return HPE_USER;
    }
    struct field *f = &m->fields[m->n_fields];
    return join(&f->name, &f->name_len, at, n, m);
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct httpmsg *m = parser->data;
    if (m->n_fields == HTTPMSG_HEADERS_MAX)
        return HPE_USER;
    struct field *f = &m->fields[m->n_fields];
    return join(&f->value, &f->value_len, at, n, m);
}

static int on_value_complete(llhttp_t *parser)
{
    struct httpmsg *m = parser->data;
    if (m->n_fields == HTTPMSG_HEADERS_MAX)
        return -1;
    m->n_fields++;
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct httpmsg *m = parser->data;
    m->headers_complete = true;
    m->flags = parser->flags; /* llhttp forgets them when there is no body */
    m->keep_alive = llhttp_should_keep_alive(parser) != 0;
    parser->upgrade = 0; /* an offer to upgrade is not taken up [RFC 9110 s7.8] */
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    struct httpmsg *m = parser->data;
    buf_add(&m->body, at, n);
    enum err e = buf_error(&m->body);
    if (e == ERR_OK)
        return 0;
    if (e == ERR_LIMIT)
        (void)refuse(m, 413, "the body is too large");
    else
        (void)refuse(m, 503, "out of memory");
    return HPE_USER;
}

static int on_chunk_header(llhttp_t *parser)
{
    struct httpmsg *m = parser->data;
    if (parser->content_length > m->body.max - m->body.len) {
        (void)refuse(m, 413, "the body is too large");
        return -1;
    }
    if (parser->content_length > 0)
        return 0;
    m->mode = BODY_LAST_CR; /* the end is read here: llhttp would take trailers */
    return HPE_PAUSED;
}

static int on_chunk_extension(llhttp_t *parser, const char *at, size_t n)
{
    (void)at;
    (void)n;
    (void)refuse(parser->data, 400, "chunk extensions are not accepted");
    return HPE_USER;
}

static const llhttp_settings_t SETTINGS = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_header = on_chunk_header,
    .on_chunk_extension_name = on_chunk_extension,
};

/* --- the gate ------------------------------------------------------------------------------ */

static enum httpmsg_state gate_request(struct httpmsg *m, uint8_t c)
{
    bool first = m->gate == GATE_START;
    m->gate = GATE_REQUEST;
    if (c == '\r' && !first) {
        m->gate = GATE_CR;
        return m->n_spaces == 2 ? HTTPMSG_MORE : refuse(m, 400, "the request line is malformed");
    }
    if (c == ' ' && !first && m->head.p[m->head.len - 1] != ' ')
        m->n_spaces++;
    else if (c <= 0x20 || c >= 0x7f)
        return refuse(m, 400, "the request line is malformed");
    return HTTPMSG_MORE;
}

/* Looks at the next byte of the head, before it is stored. */
static enum httpmsg_state gate_byte(struct httpmsg *m, uint8_t c)
{
    switch (m->gate) {
    case GATE_START:
    case GATE_REQUEST:
        return gate_request(m, c);
    case GATE_CR:
        m->gate = GATE_LINE;
        return c == '\n' ? HTTPMSG_MORE : refuse(m, 400, "a line does not end in CR LF");
    case GATE_LINE:
        m->gate = c == '\r' ? GATE_END_CR : GATE_NAME;
        if (c != '\r' && !is_tchar(c)) /* white space would be a folded line */
            return refuse(m, 400, "a header field has no name");
        m->n_lines += c != '\r';
        return HTTPMSG_MORE;
    case GATE_NAME:
        if (c == ':')
            m->gate = GATE_VALUE;
        else if (!is_tchar(c))
            return refuse(m, 400, "the name of a header field is malformed");
        return HTTPMSG_MORE;
    case GATE_VALUE:
        if (c == '\r')
            m->gate = GATE_CR;
        else if (!is_value_char(c))
            return refuse(m, 400, "the value of a header field is malformed");
        return HTTPMSG_MORE;
    case GATE_END_CR:
        m->gate = GATE_END;
        return c == '\n' ? HTTPMSG_MORE : refuse(m, 400, "a line does not end in CR LF");
    case GATE_END:
        break;
    }
    return refuse(m, 400, "the head is malformed");
}

/* Takes the head from `in` up to its end; *used is how far it went. */
static enum httpmsg_state take_head(struct httpmsg *m, struct span in, size_t *used)
{
    size_t n = 0;
    while (n < in.len && m->gate != GATE_END) {
        uint8_t c = in.p[n];
        if (gate_byte(m, c) == HTTPMSG_REFUSED)
            break;
        if (m->head.len == m->head_max)
            (void)refuse(m, m->gate == GATE_REQUEST ? 414 : 431, "the head is too large");
        else
            buf_add(&m->head, &c, 1);
        if (buf_error(&m->head) != ERR_OK)
            (void)refuse(m, 503, "out of memory");
        if (m->state == HTTPMSG_REFUSED)
            break;
        n++;
    }
    *used = n;
    return m->state;
}

/* --- what the head says -------------------------------------------------------------------- */

static struct field *find(const struct httpmsg *m, const char *name, size_t *n)
{
    const struct field *first = NULL;
    *n = 0;
    for (size_t i = 0; i < m->n_fields; i++) {
        if (strcasecmp(m->fields[i].name, name) == 0) {
            if (first == NULL)
                first = &m->fields[i];
            ++*n;
        }
    }
    return (struct field *)(uintptr_t)first;
}

/* Fields that may be repeated, because their values are lists. [RFC 9110 s5.3] */
static bool is_list_field(const char *name)
{
    static const char *const LISTS[] = {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "cookie",
        "forwarded",
        "if-match",
        "if-none-match",
        "pragma",
        "prefer",
        "te",
        "upgrade",
        "via",
        "x-forwarded-for",
    };
    for (size_t i = 0; i < ARRAY_LEN(LISTS); i++) {
        if (strcasecmp(name, LISTS[i]) == 0)
            return true;
    }
    return false;
}

/* Cuts the head into strings. llhttp is through with it. */
static enum httpmsg_state cut_fields(struct httpmsg *m)
{
    for (size_t i = 0; i < m->n_fields; i++) {
        struct field *f = &m->fields[i];
        static char empty[1];
        if (f->value == NULL || f->value_len == 0)
            f->value = empty;
        while (f->value_len > 0 && strchr(" \t", f->value[f->value_len - 1]) != NULL)
            f->value_len--;
        f->name[f->name_len] = 0;
        if (f->value_len > 0)
            f->value[f->value_len] = 0;
        else
            f->value = empty;
    }
    for (size_t i = 0; i < m->n_fields; i++) {
        size_t n;
        if (find(m, m->fields[i].name, &n) != &m->fields[i] && !is_list_field(m->fields[i].name))
            return refuse(m, 400, "a header field is repeated");
    }
    return HTTPMSG_MORE;
}

static bool is_path_char(uint8_t c)
{
    return is_alnum(c) || (c != 0 && strchr("-._~!$&'()*+,;=:@/", c) != NULL);
}

/* Origin form only, and only one spelling of a path. [RFC 9112 s3.2.1] */
static enum httpmsg_state check_target(struct httpmsg *m)
{
    if (m->target == NULL || m->target_len == 0 || m->target[0] != '/')
        return refuse(m, 400, "the request target is not a path");
    if (m->target_len > HTTPMSG_TARGET_MAX)
        return refuse(m, 414, "the request target is too long");
    if (strncmp(m->target + m->target_len, " HTTP/", 6) != 0) /* llhttp knows RTSP and ICE too */
        return refuse(m, 400, "the protocol is not HTTP");
    m->target[m->target_len] = 0;
    m->query = strchr(m->target, '?');
    if (m->query != NULL)
        *m->query++ = 0;
    else
        m->query = m->target + m->target_len;
    for (const char *p = m->target; *p != 0; p++) {
        if (!is_path_char((uint8_t)*p) || strncmp(p, "//", 2) == 0 || strncmp(p, "/./", 3) == 0 ||
            strncmp(p, "/../", 4) == 0 || strcmp(p, "/.") == 0 || strcmp(p, "/..") == 0)
            return refuse(m, 400, "the path is not in its plain form");
    }
    for (const char *p = m->query; *p != 0; p++) {
        if (!is_path_char((uint8_t)*p) && *p != '?' && *p != '%')
            return refuse(m, 400, "the query is malformed");
    }
    return HTTPMSG_MORE;
}

/* host [ ":" port ]: a name, an IPv4 address or an IPv6 address in brackets. */
static bool is_host(const char *s)
{
    size_t n;
    if (*s == '[') {
        n = 1 + strspn(s + 1, "0123456789abcdefABCDEF:.");
        if (n < 3 || s[n] != ']')
            return false;
        n++;
    } else {
        n = strspn(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._");
        if (n == 0 || n > 255)
            return false;
    }
    if (s[n] == 0)
        return true;
    size_t digits = strspn(s + n + 1, "0123456789");
    return s[n] == ':' && digits >= 1 && digits <= 5 && s[n + 1 + digits] == 0;
}

static enum httpmsg_state check_length(struct httpmsg *m, const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 19 || text[digits] != 0)
        return refuse(m, 400, "Content-Length is not a number");
    unsigned long long v = strtoull(text, NULL, 10);
    if ((m->flags & F_CONTENT_LENGTH) == 0)
        return refuse(m, 400, "Content-Length is malformed");
    if (v > m->body.max)
        return refuse(m, 413, "the body is too large");
    m->body_len = (size_t)v;
    m->mode = v > 0 ? BODY_LENGTH : BODY_NONE;
    return HTTPMSG_MORE;
}

/* How long the body is: never two opinions about it. [RFC 9112 s6.3] */
static enum httpmsg_state check_framing(struct httpmsg *m)
{
    size_t n;
    const struct field *length = find(m, "content-length", &n);
    const struct field *coding = find(m, "transfer-encoding", &n);
    if (coding == NULL)
        return length != NULL ? check_length(m, length->value) : HTTPMSG_MORE;
    if (length != NULL)
        return refuse(m, 400, "both Content-Length and Transfer-Encoding");
    if (m->parser.http_minor == 0)
        return refuse(m, 400, "Transfer-Encoding in HTTP/1.0");
    if (strcasecmp(coding->value, "chunked") != 0)
        return refuse(m, 501, "a Transfer-Encoding other than chunked");
    if ((m->flags & F_CHUNKED) == 0)
        return refuse(m, 400, "Transfer-Encoding is malformed");
    m->mode = BODY_CHUNKED;
    m->wire_left = m->body.max > SIZE_MAX / CHUNKED_WIRE_FACTOR - 64
                       ? SIZE_MAX
                       : (m->body.max + 64) * CHUNKED_WIRE_FACTOR;
    return HTTPMSG_MORE;
}

static enum httpmsg_state check_fields(struct httpmsg *m)
{
    size_t n;
    const struct field *host = find(m, "host", &n);
    if (host == NULL && m->parser.http_minor > 0)
        return refuse(m, 400, "Host is missing"); /* [RFC 9112 s3.2] */
    if (host != NULL && !is_host(host->value))
        return refuse(m, 400, "Host is malformed");
    if (find(m, "trailer", &n) != NULL)
        return refuse(m, 400, "trailers are not accepted");
    const struct field *expect = find(m, "expect", &n);
    if (expect != NULL && strcasecmp(expect->value, "100-continue") != 0)
        return refuse(m, 417, "an expectation other than 100-continue");
    /* a client of HTTP/1.0 could not understand a 100 */
    m->expects_continue = expect != NULL && m->parser.http_minor > 0;
    return check_framing(m);
}

static const char *method_name(const struct httpmsg *m)
{
    switch (m->parser.method) {
    case HTTP_GET:
        return "GET";
    case HTTP_HEAD:
        return "HEAD";
    case HTTP_POST:
        return "POST";
    case HTTP_PUT:
        return "PUT";
    case HTTP_DELETE:
        return "DELETE";
    case HTTP_OPTIONS:
        return "OPTIONS";
    case HTTP_PATCH:
        return "PATCH";
    default:
        return NULL;
    }
}

static enum httpmsg_state refuse_by_llhttp(struct httpmsg *m, llhttp_errno_t why)
{
    switch (why) {
    case HPE_INVALID_METHOD:
        return refuse(m, 501, "the method is not known");
    case HPE_INVALID_VERSION:
    case HPE_PAUSED_H2_UPGRADE:
        return refuse(m, 505, "the version is not HTTP/1.1");
    default:
        return refuse(m, 400, "the request is malformed");
    }
}

/* The head is complete: llhttp reads it in one piece, then it is checked as a whole. */
static enum httpmsg_state parse_head(struct httpmsg *m)
{
    llhttp_errno_t why = llhttp_execute(&m->parser, (const char *)m->head.p, m->head.len);
    if (m->state == HTTPMSG_REFUSED)
        return HTTPMSG_REFUSED;
    if (why != HPE_OK || !m->headers_complete)
        return refuse_by_llhttp(m, why);
    if (m->n_fields != m->n_lines)
        return refuse(m, 400, "the header fields are malformed");
    if (m->parser.http_major != 1 || m->parser.http_minor > 1)
        return refuse(m, 505, "the version is not HTTP/1.1");
    if (method_name(m) == NULL)
        return refuse(m, 501, "the method is not known");
    if (check_target(m) == HTTPMSG_REFUSED || cut_fields(m) == HTTPMSG_REFUSED ||
        check_fields(m) == HTTPMSG_REFUSED)
        return HTTPMSG_REFUSED;
    if (m->mode == BODY_NONE)
        m->state = HTTPMSG_DONE;
    return m->state;
}

/* --- the body ------------------------------------------------------------------------------ */

static enum httpmsg_state take_length(struct httpmsg *m, struct span in, size_t *used)
{
    size_t n = m->body_len - m->body.len;
    if (n > in.len)
        n = in.len;
    *used = n;
    llhttp_errno_t why = llhttp_execute(&m->parser, (const char *)in.p, n);
    if (why != HPE_OK)
        return refuse_by_llhttp(m, why);
    if (m->body.len == m->body_len)
        m->state = HTTPMSG_DONE;
    return m->state;
}

static enum httpmsg_state take_chunked(struct httpmsg *m, struct span in, size_t *used)
{
    size_t n = in.len < m->wire_left ? in.len : m->wire_left;
    if (n == 0)
        return refuse(m, 413, "the body is too large");
    llhttp_errno_t why = llhttp_execute(&m->parser, (const char *)in.p, n);
    if (why == HPE_PAUSED && m->mode == BODY_LAST_CR)
        n = (size_t)((const uint8_t *)llhttp_get_error_pos(&m->parser) - in.p);
    else if (why != HPE_OK)
        return refuse_by_llhttp(m, why);
    *used = n;
    m->wire_left -= n;
    return m->state;
}

static enum httpmsg_state take_last(struct httpmsg *m, uint8_t c, size_t *used)
{
    if (c != (m->mode == BODY_LAST_CR ? '\r' : '\n'))
        return refuse(m, 400, "trailers are not accepted");
    *used = 1;
    if (m->mode == BODY_LAST_LF)
        m->state = HTTPMSG_DONE;
    m->mode = BODY_LAST_LF;
    return m->state;
}

static enum httpmsg_state take_body(struct httpmsg *m, struct span in, size_t *used)
{
    m->body_started = true;
    if (m->mode == BODY_LENGTH)
        return take_length(m, in, used);
    if (m->mode == BODY_CHUNKED)
        return take_chunked(m, in, used);
    return take_last(m, in.p[0], used);
}

/* --- outside ------------------------------------------------------------------------------- */

enum err httpmsg_new(struct httpmsg **out, size_t head_max, size_t body_max)
{
    struct httpmsg *m = calloc(1, sizeof *m);
    if (m == NULL)
        return ERR_NOMEM;
    m->head_max = head_max;
    buf_init(&m->head, head_max);
    buf_init(&m->body, body_max);
    httpmsg_reset(m);
    *out = m;
    return ERR_OK;
}

void httpmsg_free(struct httpmsg *m)
{
    if (m == NULL)
        return;
    buf_wipe(&m->head); /* either may hold a token */
    buf_wipe(&m->body);
    free(m);
}

void httpmsg_reset(struct httpmsg *m)
{
    struct httpmsg fresh = { .head_max = m->head_max, .head = m->head, .body = m->body };
    buf_wipe(&fresh.head);
    buf_wipe(&fresh.body);
    *m = fresh;
    llhttp_init(&m->parser, HTTP_REQUEST, &SETTINGS);
    m->parser.data = m;
}

enum httpmsg_state httpmsg_feed(struct httpmsg *m, struct span in, size_t *used)
{
    size_t at = 0;
    while (m->state == HTTPMSG_MORE && at < in.len) {
        struct span rest = { in.p + at, in.len - at };
        size_t n = 0;
        if (m->gate == GATE_END)
            (void)take_body(m, rest, &n);
        else if (take_head(m, rest, &n) == HTTPMSG_MORE && m->gate == GATE_END)
            (void)parse_head(m);
        at += n;
    }
    *used = at;
    return m->state;
}

bool httpmsg_is_started(const struct httpmsg *m)
{
    return m->gate != GATE_START;
}

bool httpmsg_wants_continue(const struct httpmsg *m)
{
    return m->state == HTTPMSG_MORE && m->gate == GATE_END && m->expects_continue &&
           !m->body_started;
}

int httpmsg_status(const struct httpmsg *m)
{
    return m->status;
}

const char *httpmsg_why(const struct httpmsg *m)
{
    return m->why;
}

const char *httpmsg_method(const struct httpmsg *m)
{
    return method_name(m);
}

const char *httpmsg_path(const struct httpmsg *m)
{
    return m->target;
}

const char *httpmsg_query(const struct httpmsg *m)
{
    return m->query;
}

struct span httpmsg_body(const struct httpmsg *m)
{
    return buf_span(&m->body);
}

bool httpmsg_is_keep_alive(const struct httpmsg *m)
{
    return m->keep_alive;
}

const char *httpmsg_header(const struct httpmsg *m, const char *name)
{
    size_t n;
    const struct field *f = find(m, name, &n);
    return f != NULL ? f->value : NULL;
}
