#include "dnsd/core/identity.h"

#include <stddef.h>

#include "common/base/attr.h"

#define WIRE(s)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(s), sizeof(s)                                                            \
    } /* the NUL is the root label */

static const struct {
    struct span name;
    size_t text; /* where it is in struct identity */
} NAMES[] = {
    { WIRE("\7version\4bind"), offsetof(struct identity, version) },
    { WIRE("\7version\6server"), offsetof(struct identity, version) },
    { WIRE("\10hostname\4bind"), offsetof(struct identity, hostname) },
    { WIRE("\2id\6server"), offsetof(struct identity, hostname) },
};

const char *identity_find(const struct identity *id, const struct name *name)
{
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        const char *text = (const char *)id + NAMES[i].text;
        if (span_equal(NAMES[i].name, (struct span){ name->wire, name->len }))
            return text[0] != 0 ? text : NULL;
    }
    return NULL;
}
