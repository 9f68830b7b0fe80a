#include "dnsd/core/persist.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/dns/wire.h"
#include "dnsd/core/canon.h"

#define STRING_MAX 255 /* bytes of a character string */

/* Whether `uri` can stand in the record: printable, and none of what ends it. [RFC 8659 s4.2] */
static bool uri_is_fit(struct span uri)
{
    for (size_t i = 0; i < uri.len; i++) {
        if (uri.p[i] < 0x21 || uri.p[i] > 0x7e || uri.p[i] == ';')
            return false;
    }
    return uri.len <= PERSIST_URI_MAX && memchr(uri.p, ':', uri.len) != NULL;
}

/* Appends the record of `text`, ready-made. */
static void add_record(struct buf *rrs, struct span text)
{
    uint8_t head[ZONE_RR_HEAD];
    size_t n_strings = (text.len + STRING_MAX - 1) / STRING_MAX;
    wire_store16(head, DNS_POINTER | DNS_HEADER_LEN);
    wire_store16(head + 2, RR_TXT);
    wire_store16(head + 4, RR_CLASS_IN);
    wire_store32(head + 6, PERSIST_TTL_S);
    wire_store16(head + 10, (unsigned)(n_strings + text.len));
    buf_add(rrs, head, sizeof head);
    while (text.len > 0) {
        uint8_t len = (uint8_t)(text.len < STRING_MAX ? text.len : STRING_MAX);
        buf_add(rrs, &len, 1);
        buf_add(rrs, text.p, len);
        text.p += len;
        text.len -= len;
    }
}

/* "<issuer domain name> <account URI>" */
static enum err add_line(struct buf *rrs, struct span line, struct err_info *info)
{
    char domain[NAME_TEXT_MAX];
    struct name name;
    size_t len = 0;
    while (len < line.len && line.p[len] != ' ' && line.p[len] != '\t')
        len++;
    struct span uri = { line.p + len, line.len - len };
    while (uri.len > 0 && (uri.p[0] == ' ' || uri.p[0] == '\t')) {
        uri.p++;
        uri.len--;
    }
    bool fits = len < sizeof domain && memchr(line.p, 0, len) == NULL;
    if (fits) {
        memcpy(domain, line.p, len);
        domain[len] = 0;
    }
    if (!fits || name_parse(&name, domain) != ERR_OK || name.n_labels == 0)
        return err_set(info, ERR_CONFIG,
                       "it does not begin with the domain name of a certificate authority");
    if (uri.len == 0 || !uri_is_fit(uri))
        return err_set(info, ERR_CONFIG,
                       "write the URI of an account after the domain name, as in ca.example "
                       "https://ca.example/acct/1");
    struct buf text;
    name_format(&name, domain); /* lower case, without a final dot */
    buf_init(&text, NAME_TEXT_MAX + PERSIST_URI_MAX + 64);
    buf_add_fmt(&text, "%s; accounturi=%.*s; policy=wildcard", domain, (int)uri.len,
                (const char *)uri.p);
    enum err e = buf_error(&text);
    if (e == ERR_OK)
        add_record(rrs, buf_span(&text));
    buf_clear(&text);
    return e == ERR_OK ? buf_error(rrs) : e;
}

static enum err add_lines(struct buf *rrs, uint16_t *n, struct span text, unsigned *line,
                          struct err_info *info)
{
    enum err e = ERR_OK;
    *line = 0;
    while (e == ERR_OK && text.len > 0) {
        struct span entry = span_take_line(&text);
        ++*line;
        if (entry.len == 0)
            continue;
        e = *n == PERSIST_MAX ? err_set(info, ERR_CONFIG, "more than %d accounts", PERSIST_MAX)
                              : add_line(rrs, entry, info);
        ++*n;
    }
    if (e == ERR_OK && *n == 0) {
        *line = *line > 0 ? *line : 1;
        e = err_set(info, ERR_CONFIG, "no account in it");
    }
    return e;
}

enum err persist_parse(struct persist **out, struct span text, unsigned *line,
                       struct err_info *info)
{
    struct buf rrs;
    struct persist *p = calloc(1, sizeof *p);
    buf_init(&rrs, PERSIST_MAX * (ZONE_RR_HEAD + NAME_TEXT_MAX + PERSIST_URI_MAX + 64u));
    enum err e = p == NULL ? ERR_NOMEM : ERR_OK;
    if (e == ERR_OK)
        e = add_lines(&rrs, &p->set.n, text, line, info);
    if (e != ERR_OK)
        goto out;
    p->set.type = RR_TXT;
    p->set.ttl_s = PERSIST_TTL_S;
    p->set.len = rrs.len;
    p->set.rrs = (uint8_t *)buf_take(&rrs);
    e = canon_rrset(&p->set);
    if (e != ERR_OK)
        goto out;
    *out = p;
    p = NULL;
out:
    if (e == ERR_NOMEM)
        (void)err_set(info, e, "out of memory");
    buf_clear(&rrs);
    persist_free(p);
    return e;
}

void persist_free(struct persist *p)
{
    if (p == NULL)
        return;
    free(p->set.rrs);
    free(p);
}
