#include "dnsd/zonefile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <ldns/ldns.h>

#define DEFAULT_TTL_S 3600
#define RDATA_MAX 65535
#define SHOWN_MAX 512 /* of a wrong record, what is searched for the field */

/* One file being read. */
struct zonefile {
    struct zone *zone;
    const char *path;
    FILE *f;
    uint32_t ttl_s;
    ldns_rdf *origin, *owner; /* what relative names and a missing owner stand for */
    int line;                 /* counts the line ends that were read, from 1 */
    uint8_t data[RDATA_MAX];
};

/* Adds one record of ldns' to the zone. */
static enum err add_record(struct zonefile *zf, const ldns_rr *rr, struct err_info *info)
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
    return zone_add(zf->zone, &owner, (unsigned)ldns_rr_get_type(rr), ldns_rr_ttl(rr),
                    (struct span){ zf->data, len }, info);
}

/* The length of the field at `text`; a copy of its first bytes goes to `field`. */
static size_t take_field(char field[32], const char *text)
{
    size_t len = strcspn(text, " \t()\r\n");
    (void)snprintf(field, 32, "%.*s", (int)len, text);
    return len;
}

/* Where in the first line of a record the field is that ldns, which does not tell, could not read:
 * the name; or, behind TTL and class, the type when there is no such, and the data otherwise. */
static size_t find_fault(const char *text, ldns_status s)
{
    static const char BLANKS[] = " \t()";
    char field[32];
    size_t at = take_field(field, text), len;
    at += strspn(text + at, BLANKS);
    if (s == LDNS_STATUS_SYNTAX_ERR || field[0] == '$')
        return field[0] == 0 ? at : 0;
    for (unsigned i = 0; i < 2; i++) {
        len = take_field(field, text + at);
        bool is_ttl = field[0] >= '0' && field[0] <= '9';
        if (is_ttl || ldns_get_rr_class_by_name(field) != 0)
            at += len + strspn(text + at + len, BLANKS);
    }
    len = take_field(field, text + at);
    if (ldns_get_rr_type_by_name(field) == 0)
        return at;
    return at + len + strspn(text + at + len, BLANKS);
}

/* What ldns says about the record or directive that begins at `start` in line `line`. */
static enum err fail_syntax(struct zonefile *zf, ldns_status s, long start, int line,
                            struct err_info *info)
{
    char text[SHOWN_MAX];
    size_t len = fseek(zf->f, start, SEEK_SET) == 0 ? fread(text, 1, sizeof text - 1, zf->f) : 0;
    text[len] = 0;
    return err_set(info, ERR_CONFIG, "%s:%d:%zu: %s", zf->path, line, find_fault(text, s) + 1,
                   ldns_get_errorstr_by_id(s));
}

/* Reads up to the end of one record or directive. */
static enum err read_record(struct zonefile *zf, struct err_info *info)
{
    ldns_rr *rr = NULL;
    int before = zf->line;
    long start = ftell(zf->f);
    ldns_status s =
        ldns_rr_new_frm_fp_l(&rr, zf->f, &zf->ttl_s, &zf->origin, &zf->owner, &zf->line);
    enum err e;
    switch (s) {
    case LDNS_STATUS_OK:
        e = add_record(zf, rr, info);
        break;
    case LDNS_STATUS_SYNTAX_TTL:
    case LDNS_STATUS_SYNTAX_ORIGIN:
    case LDNS_STATUS_SYNTAX_EMPTY:
        e = ERR_OK;
        break;
    case LDNS_STATUS_SYNTAX_INCLUDE:
        e = err_set(info, ERR_CONFIG, "$INCLUDE is not supported: put the records in this file");
        break;
    case LDNS_STATUS_MEM_ERR:
        e = err_set(info, ERR_NOMEM, "out of memory");
        break;
    default:
        return fail_syntax(zf, s, start, before, info);
    }
    ldns_rr_free(rr);
    /* the line that the record ended in: its line end was counted, if it had one */
    int line = zf->line > before ? zf->line - 1 : zf->line;
    return e == ERR_OK ? e : err_prefix(info, e, "%s:%d: ", zf->path, line);
}

static enum err open_file(struct zonefile *zf, struct err_info *info)
{
    struct stat st;
    zf->f = fopen(zf->path, "re");
    if (zf->f == NULL || fstat(fileno(zf->f), &st) != 0)
        return err_set(info, err_from_errno(errno), "cannot read %s: %s", zf->path,
                       strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(info, ERR_IO, "cannot read %s: not a file", zf->path);
    return ERR_OK;
}

enum err zonefile_read(struct zone *z, const char *path, struct err_info *info)
{
    struct zonefile *zf = calloc(1, sizeof *zf);
    if (zf == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    zf->zone = z;
    zf->path = path;
    zf->ttl_s = DEFAULT_TTL_S;
    zf->line = 1;
    enum err e = open_file(zf, info);
    if (e != ERR_OK)
        goto out;
    zf->origin = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, z->apex.len, z->apex.wire);
    if (zf->origin == NULL) {
        e = err_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    while (e == ERR_OK && !feof(zf->f) && !ferror(zf->f))
        e = read_record(zf, info);
    if (e == ERR_OK && ferror(zf->f))
        e = err_set(info, ERR_IO, "cannot read %s", path);
out:
    ldns_rdf_deep_free(zf->origin);
    ldns_rdf_deep_free(zf->owner);
    if (zf->f != NULL)
        (void)fclose(zf->f);
    free(zf);
    return e;
}
