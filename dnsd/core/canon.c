#include "dnsd/core/canon.h"

#include <stdlib.h>
#include <string.h>

#include "common/dns/wire.h"

/* Where the names are in the data of a type: behind `skip` bytes, and `n_texts` character strings,
 * there are `n_names`. */
static const struct {
    uint16_t type;
    uint8_t skip, n_texts, n_names;
} NAMED[] = {
    { RR_NS, 0, 0, 1 },    { 3, 0, 0, 1 },                      /* MD */
    { 4, 0, 0, 1 },                                             /* MF */
    { RR_CNAME, 0, 0, 1 }, { RR_SOA, 0, 0, 2 }, { 7, 0, 0, 1 }, /* MB */
    { 8, 0, 0, 1 },                                             /* MG */
    { 9, 0, 0, 1 },                                             /* MR */
    { 12, 0, 0, 1 },                                            /* PTR */
    { 14, 0, 0, 2 },                                            /* MINFO */
    { 15, 2, 0, 1 },                                            /* MX */
    { 17, 0, 0, 2 },                                            /* RP */
    { 18, 2, 0, 1 },                                            /* AFSDB */
    { 21, 2, 0, 1 },                                            /* RT */
    { 26, 2, 0, 2 },                                            /* PX */
    { 33, 6, 0, 1 },                                            /* SRV */
    { 35, 4, 3, 1 },                                            /* NAPTR */
    { 36, 2, 0, 1 },                                            /* KX */
};

/* Makes the names of one record's data lower case; leaves alone what is not as it should be. */
static void lower_names(uint8_t *data, size_t len, size_t skip, unsigned n_texts, unsigned n_names)
{
    size_t at = skip;
    for (unsigned i = 0; i < n_texts && at < len; i++)
        at += 1u + data[at];
    for (unsigned i = 0; i < n_names && at < len; i++) {
        struct name name;
        if (name_read(&name, (struct span){ data + at, len - at }) != ERR_OK)
            return;
        memcpy(data + at, name.wire, name.len);
        at += name.len;
    }
}

static int by_data(const void *a, const void *b)
{
    const uint8_t *x = *(const uint8_t *const *)a, *y = *(const uint8_t *const *)b;
    size_t x_len = wire_load16(x + ZONE_RR_HEAD - 2), y_len = wire_load16(y + ZONE_RR_HEAD - 2);
    int order = memcmp(x + ZONE_RR_HEAD, y + ZONE_RR_HEAD, x_len < y_len ? x_len : y_len);
    return order != 0 ? order : (x_len > y_len) - (x_len < y_len);
}

enum err canon_rrset(struct rrset *set)
{
    const uint8_t **list = calloc(set->n, sizeof(const uint8_t *));
    uint8_t *sorted = malloc(set->len);
    if (list == NULL || sorted == NULL) {
        free(list);
        free(sorted);
        return ERR_NOMEM;
    }
    size_t n = 0;
    for (size_t at = 0, len; at < set->len; at += ZONE_RR_HEAD + len) {
        uint8_t *rr = set->rrs + at;
        len = wire_load16(rr + ZONE_RR_HEAD - 2);
        for (size_t i = 0; i < ARRAY_LEN(NAMED); i++) {
            if (NAMED[i].type == set->type)
                lower_names(rr + ZONE_RR_HEAD, len, NAMED[i].skip, NAMED[i].n_texts,
                            NAMED[i].n_names);
        }
        list[n++] = rr;
    }
    qsort(list, n, sizeof(const uint8_t *), by_data);
    set->len = 0;
    set->n = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && by_data(&list[i - 1], &list[i]) == 0)
            continue;
        size_t len = ZONE_RR_HEAD + (size_t)wire_load16(list[i] + ZONE_RR_HEAD - 2);
        memcpy(sorted + set->len, list[i], len);
        set->len += len;
        set->n++;
    }
    free(set->rrs);
    set->rrs = sorted;
    free(list);
    return ERR_OK;
}
