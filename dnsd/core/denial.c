#include "dnsd/core/denial.h"

#include <string.h>

#include "common/dns/rr.h"

#define TYPES_MAX 260 /* more than a node's sets, which uint8_t counts, and the three of ours */
#define WINDOW_LEN 32

/* The next name in canonical order: \000.<owner>. Where that is too long, the leftmost label that
 * can grow does, which passes over no name that fits. [RFC 4034 s6.1] */
static void write_next(struct wire_writer *w, const struct name *owner, const struct name *apex)
{
    if (owner->len + 2u <= NAME_WIRE_MAX) {
        wire_put(w, "\001", 2);
        wire_put(w, owner->wire, owner->len);
        return;
    }
    for (unsigned i = 0; i + apex->n_labels < owner->n_labels; i++) {
        struct span label = name_label(owner, i);
        size_t len = label.len;
        while (len > 0 && label.p[len - 1] == 0xff)
            len--;
        if (len == 0)
            continue;
        uint8_t *p = wire_room(w, 1 + len);
        if (p == NULL)
            return;
        p[0] = (uint8_t)len;
        memcpy(p + 1, label.p, len);
        p[len]++;
        if (p[len] >= 'A' && p[len] <= 'Z') /* which would sort as a small letter */
            p[len] = 'Z' + 1;
        struct span rest = name_suffix(owner, owner->n_labels - i - 1);
        wire_put(w, rest.p, rest.len);
        return;
    }
    wire_put(w, apex->wire, apex->len);
}

/* Keeps the `n` types of `list` in order while adding one. */
static void add_type(uint16_t *list, size_t *n, uint16_t type)
{
    size_t i = *n;
    for (; i > 0 && list[i - 1] > type; i--)
        list[i] = list[i - 1];
    list[i] = type;
    (*n)++;
}

static size_t list_types(uint16_t *list, const struct denial *d)
{
    size_t n = 0;
    add_type(list, &n, RR_RRSIG);
    add_type(list, &n, RR_NSEC);
    if (d->missing)
        add_type(list, &n, RR_NXNAME);
    for (size_t i = 0; i < d->n_types; i++)
        add_type(list, &n, d->types[i]);
    for (size_t i = 0; d->node != NULL && i < d->node->n_sets; i++) {
        /* of a delegated name only NS and DS are here */
        unsigned type = d->node->sets[i].type;
        if (!d->node->is_cut || type == RR_NS || type == RR_DS)
            add_type(list, &n, (uint16_t)type);
    }
    return n;
}

void denial_write(struct wire_writer *w, const struct name *owner, const struct name *apex,
                  const struct denial *d)
{
    uint16_t list[TYPES_MAX];
    size_t n = list_types(list, d);
    write_next(w, owner, apex);
    for (size_t i = 0; i < n;) {
        uint8_t bits[2 + WINDOW_LEN] = { (uint8_t)(list[i] >> 8) };
        for (; i < n && list[i] >> 8 == bits[0]; i++) {
            unsigned low = list[i] & 0xff;
            bits[2 + low / 8] |= (uint8_t)(0x80 >> low % 8);
            bits[1] = (uint8_t)(low / 8 + 1);
        }
        wire_put(w, bits, 2u + bits[1]);
    }
}
