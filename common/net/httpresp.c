#include "common/net/httpresp.h"

#include <string.h>
#include <time.h>

static const struct {
    int status;
    const char *phrase;
} PHRASES[] = {
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 303, "See Other" },
    { 304, "Not Modified" },
    { 307, "Temporary Redirect" },
    { 308, "Permanent Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 410, "Gone" },
    { 411, "Length Required" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Content" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
};

static const char *phrase(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(PHRASES); i++) {
        if (PHRASES[i].status == status)
            return PHRASES[i].phrase;
    }
    return "Status";
}

static bool is_token(const char *s)
{
    return *s != 0 && s[strspn(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == 0;
}

static bool has_control(const char *s)
{
    for (; *s != 0; s++) {
        if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f)
            return true;
    }
    return false;
}

void httpresp_add_header(struct buf *headers, const char *name, const char *value)
{
    if (is_token(name) && !has_control(value))
        buf_add_fmt(headers, "%s: %s\r\n", name, value);
}

/* IMF-fixdate, without strftime(): its names of days follow the locale. [RFC 9110 s5.6.7] */
static void add_date(struct buf *out, int64_t now_s)
{
    static const char DAYS[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char MONTHS[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    time_t t = (time_t)now_s;
    struct tm tm;
    if (gmtime_r(&t, &tm) == NULL)
        return;
    buf_add_fmt(out, "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n", DAYS[tm.tm_wday], tm.tm_mday,
                MONTHS[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

void httpresp_write(struct buf *out, const struct httpresp *r)
{
    bool bodiless = r->status == 204 || r->status == 304; /* [RFC 9110 s6.4.1] */
    buf_add_fmt(out, "HTTP/1.1 %d %s\r\n", r->status, phrase(r->status));
    add_date(out, r->now_s);
    if (!r->keep_alive)
        buf_add_str(out, "Connection: close\r\n");
    if (r->content_type != NULL && !bodiless)
        httpresp_add_header(out, "Content-Type", r->content_type);
    if (!bodiless)
        buf_add_fmt(out, "Content-Length: %zu\r\n", r->body.len);
    buf_add_str(out, r->headers);
    buf_add_str(out, "\r\n");
    if (!bodiless && !r->head_only)
        buf_add_span(out, r->body);
}

static void add_json_string(struct buf *out, const char *s)
{
    buf_add_str(out, "\"");
    for (; *s != 0; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            buf_add_fmt(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_add_fmt(out, "\\u%04x", c);
        else
            buf_add(out, s, 1);
    }
    buf_add_str(out, "\"");
}

void httpresp_problem(struct buf *out, int status, const char *type, const char *detail)
{
    buf_add_str(out, "{\"type\":");
    if (type == NULL) {
        buf_add_str(out, "\"about:blank\"");
    } else {
        struct buf urn;
        buf_init(&urn, 256);
        buf_add_fmt(&urn, "urn:lanyard:problem:%s", type);
        add_json_string(out, buf_str(&urn));
        buf_clear(&urn);
    }
    buf_add_str(out, ",\"title\":");
    add_json_string(out, phrase(status));
    buf_add_fmt(out, ",\"status\":%d", status);
    if (detail != NULL) {
        buf_add_str(out, ",\"detail\":");
        add_json_string(out, detail);
    }
    buf_add_str(out, "}\n");
}
