#include "provisiond/acme/challenge.h"

#include <stddef.h>
#include <string.h>

#include "common/base/attr.h"

static const struct challenge_kind KINDS[] = {
    { "dns-01", true },          /* [RFC 8555 s8.4] */
    { "dns-persist-01", false }, /* draft-ietf-acme-dns-persist-00 to -02: an experiment */
};

const struct challenge_kind *challenge_kind_find(const char *type)
{
    if (type == NULL)
        return &KINDS[0];
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++)
        if (strcmp(type, KINDS[i].type) == 0)
            return &KINDS[i];
    return NULL;
}
