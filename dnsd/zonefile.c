#include "dnsd/zonefile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <ldns/ldns.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "dnsd/core/zonetext.h"

#define DEFAULT_TTL_S 3600
#define RDATA_MAX 65535

/* One file being read. */
struct zonefile {
    struct zone *zone;
    struct zonetext text;
    uint32_t ttl_s;
    ldns_rdf *origin, *owner; /* what relative names and a missing owner stand for */
    uint8_t data[RDATA_MAX];
};

/* Adds one record of ldns' to the zone. */
static enum err add_record(struct zonefile *zf, const ldns_rr *rr, uint32_t ttl_s,
                           struct err_info *info)
{
    const ldns_rdf *o = ldns_rr_owner(rr);
    struct name owner;
    if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN)
        return err_set(info, ERR_CONFIG, "only records of class IN are served");
    if (o == NULL ||
        name_read(&owner, (struct span){ ldns_rdf_data(o), ldns_rdf_size(o) }) != ERR_OK)
        return err_set(info, ERR_CONFIG, "the name of the record is not valid");
    size_t len = 0;
    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
        const ldns_rdf *field = ldns_rr_rdf(rr, i);
        if (field == NULL || ldns_rdf_size(field) > sizeof zf->data - len)
            return err_set(info, ERR_CONFIG, "the data of the record is not valid");
        memcpy(zf->data + len, ldns_rdf_data(field), ldns_rdf_size(field));
        len += ldns_rdf_size(field);
    }
    return zone_add(zf->zone, &owner, (unsigned)ldns_rr_get_type(rr), ttl_s,
                    (struct span){ zf->data, len }, info);
}

/* Whether a decimal number is above `max`, or has a sign; what is no number is not looked at. */
static bool is_beyond(struct span word, uint64_t max)
{
    uint64_t n = 0;
    if (word.p[0] == '-' || word.p[0] == '+')
        return true;
    for (size_t i = 0; i < word.len && word.p[i] >= '0' && word.p[i] <= '9'; i++) {
        n = n * 10 + (uint64_t)(word.p[i] - '0');
        if (n > max)
            return true;
    }
    return false;
}

/* What is wrong with a field of this kind, or NULL: ldns takes a number modulo what its field can
 * hold, and the quotes of a name as part of it. */
static const char *field_fault(ldns_rdf_type kind, struct span word)
{
    uint32_t period_s;
    switch (kind) {
    case LDNS_RDF_TYPE_INT8:
    case LDNS_RDF_TYPE_ALG:
    case LDNS_RDF_TYPE_CERTIFICATE_USAGE:
    case LDNS_RDF_TYPE_SELECTOR:
    case LDNS_RDF_TYPE_MATCHING_TYPE:
        return is_beyond(word, UINT8_MAX) ? "the number is out of range: 0 to 255" : NULL;
    case LDNS_RDF_TYPE_INT16:
    case LDNS_RDF_TYPE_CERT_ALG:
        return is_beyond(word, UINT16_MAX) ? "the number is out of range: 0 to 65535" : NULL;
    case LDNS_RDF_TYPE_INT32:
        return is_beyond(word, UINT32_MAX) ? "the number is out of range: 0 to 4294967295" : NULL;
    case LDNS_RDF_TYPE_PERIOD:
        return zonetext_period(&period_s, word) != ERR_OK
                   ? "not a time: write 0 to 2147483647 seconds"
                   : NULL;
    case LDNS_RDF_TYPE_DNAME:
        return word.p[0] == '"' ? "a name is written without quotes" : NULL;
    default:
        return NULL;
    }
}

/* Looks at the fields of a record that ldns understood. */
static enum err check_fields(struct zonefile *zf, const struct zone_entry *en, const ldns_rr *rr,
                             struct err_info *info)
{
    const ldns_rr_descriptor *d = ldns_rr_descript((uint16_t)ldns_rr_get_type(rr));
    const struct zone_word *w = &en->words[en->type + 1];
    size_t n = en->n_words - en->type - 1;
    if (n > 0 && span_equal(zonetext_word(&zf->text, w), span_str("\\#"))) /* [RFC 3597 s5] */
        return ERR_OK;
    for (size_t i = 0; i < n && i < ldns_rr_descriptor_maximum(d); i++) {
        const char *fault =
            field_fault(ldns_rr_descriptor_field_type(d, i), zonetext_word(&zf->text, &w[i]));
        if (fault != NULL)
            return zonetext_fail(&zf->text, w[i].at, info, "%s", fault);
    }
    return ERR_OK;
}

/* What ldns, which does not tell where, could not read: the name, or the type when there is no
 * such, and the data otherwise. */
static enum err fail_syntax(struct zonefile *zf, const struct zone_entry *en, ldns_status s,
                            struct err_info *info)
{
    const struct zone_word *type = &en->words[en->type];
    char name[32] = "";
    size_t at = en->at;
    if (s == LDNS_STATUS_MEM_ERR)
        return err_set(info, ERR_NOMEM, "out of memory");
    if (type->len < sizeof name)
        memcpy(name, zf->text.plain + type->at, type->len);
    if (ldns_get_rr_type_by_name(name) == 0)
        at = type->at;
    else if (s != LDNS_STATUS_SYNTAX_ERR)
        at = en->type + 1 < en->n_words ? type[1].at : type->at + type->len;
    return zonetext_fail(&zf->text, at, info, "%s", ldns_get_errorstr_by_id(s));
}

static enum err take_record(struct zonefile *zf, const struct zone_entry *en, struct err_info *info)
{
    ldns_rr *rr = NULL;
    ldns_status s = ldns_rr_new_frm_str(&rr, en->text, 0, zf->origin, &zf->owner);
    if (s != LDNS_STATUS_OK)
        return fail_syntax(zf, en, s, info);
    struct err_info why;
    enum err e =
        ldns_rr_get_type(rr) > UINT16_MAX /* TYPE70000 */
            ? zonetext_fail(&zf->text, en->words[en->type].at, info, "there is no such type")
            : check_fields(zf, en, rr, info);
    if (e != ERR_OK)
        goto out;
    e = add_record(zf, rr, en->has_ttl ? en->ttl_s : zf->ttl_s, &why);
    if (e == ERR_CONFIG)
        e = zonetext_fail(&zf->text, en->words[en->has_owner ? 0 : en->type].at, info, "%s",
                          why.text);
    else if (e != ERR_OK)
        e = err_set(info, e, "%s", why.text);
out:
    ldns_rr_free(rr);
    return e;
}

/* $ORIGIN: what is not absolute is below the origin so far [RFC 1035 s5.1]. */
static enum err take_origin(struct zonefile *zf, const struct zone_entry *en, struct err_info *info)
{
    char text[LDNS_MAX_DOMAINLEN * 4 + 1];
    const struct zone_word *w = &en->words[1];
    if (en->n_words != 2)
        return zonetext_fail(&zf->text, en->at, info, "write $ORIGIN and one name");
    if (w->len >= sizeof text)
        return zonetext_fail(&zf->text, w->at, info, "not a domain name");
    memcpy(text, zf->text.plain + w->at, w->len);
    text[w->len] = 0;
    ldns_rdf *origin =
        text[0] == '@' && text[1] == 0 ? ldns_rdf_clone(zf->origin) : ldns_dname_new_frm_str(text);
    bool is_whole = origin != NULL && (text[0] == '@' || ldns_dname_str_absolute(text));
    if (origin == NULL || (!is_whole && ldns_dname_cat(origin, zf->origin) != LDNS_STATUS_OK)) {
        ldns_rdf_deep_free(origin);
        return zonetext_fail(&zf->text, w->at, info, "not a domain name");
    }
    ldns_rdf_deep_free(zf->origin);
    zf->origin = origin;
    return ERR_OK;
}

static enum err take_directive(struct zonefile *zf, const struct zone_entry *en,
                               struct err_info *info)
{
    struct span word = zonetext_word(&zf->text, &en->words[0]);
    if (span_is_nocase(word, "$ORIGIN"))
        return take_origin(zf, en, info);
    if (span_is_nocase(word, "$TTL")) {
        zf->ttl_s = en->ttl_s;
        return ERR_OK;
    }
    if (span_is_nocase(word, "$INCLUDE"))
        return zonetext_fail(&zf->text, en->at, info,
                             "$INCLUDE is not supported: put the records in this file");
    if (span_is_nocase(word, "$GENERATE"))
        return zonetext_fail(&zf->text, en->at, info,
                             "$GENERATE is not supported: write the records out");
    return zonetext_fail(&zf->text, en->at, info, "no directive but $TTL and $ORIGIN is supported");
}

static enum err take_entries(struct zonefile *zf, struct err_info *info)
{
    struct zone_entry en;
    enum err e;
    while ((e = zonetext_next(&zf->text, &en, info)) == ERR_OK) {
        e = en.is_directive ? take_directive(zf, &en, info) : take_record(zf, &en, info);
        if (e != ERR_OK)
            return e;
    }
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err zonefile_parse(struct zone *z, struct span text, struct err_info *info)
{
    struct zonefile *zf = calloc(1, sizeof *zf);
    char *plain = malloc(text.len + 1);
    enum err e = ERR_NOMEM;
    if (zf == NULL || plain == NULL)
        goto out;
    zf->zone = z;
    zf->ttl_s = DEFAULT_TTL_S;
    zf->origin = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, z->apex.len, z->apex.wire);
    if (zf->origin == NULL)
        goto out;
    if (text.len > 0)
        memcpy(plain, text.p, text.len);
    plain[text.len] = 0;
    zonetext_init(&zf->text, text, plain);
    e = take_entries(zf, info);
    ldns_rdf_deep_free(zf->origin);
    ldns_rdf_deep_free(zf->owner);
out:
    if (e == ERR_NOMEM)
        (void)err_set(info, e, "out of memory");
    free(plain);
    free(zf);
    return e;
}

enum err zonefile_read(struct zone *z, const char *path, struct err_info *info)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return err_set(info, err_from_errno(errno), "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(info, ERR_IO, "cannot read %s: not a file", path);
    struct buf text;
    buf_init(&text, ZONEFILE_MAX);
    enum err e = file_read(path, &text, info);
    if (e == ERR_OK)
        e = zonefile_parse(z, buf_span(&text), info);
    if (e == ERR_CONFIG)
        e = err_prefix(info, e, "%s:", path);
    buf_clear(&text);
    return e;
}
