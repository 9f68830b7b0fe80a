#include "dnsd/core/synth.h"

#include <string.h>

bool synth_is_id(struct span label)
{
    if (label.len != SYNTH_ID_LEN)
        return false;
    unsigned bad = 0;
    for (unsigned i = 0; i < SYNTH_ID_LEN; i++) {
        uint8_t letter = (uint8_t)(label.p[i] - 'a');
        uint8_t digit = (uint8_t)(label.p[i] - '2');
        bad |= (letter > 25) & (digit > 5); /* no branch: the compiler does 16 at once */
    }
    return bad == 0;
}

/* The address of `label` into *out, as far as the policy goes. */
static enum synth_kind match_address(struct synth *out, const struct synth_policy *policy,
                                     struct span label)
{
    if (iplabel_decode(&out->ip, label) != ERR_OK)
        return SYNTH_MISSING;
    out->ttl_s = SYNTH_TTL_PRIVATE_S;
    switch (ip_classify(&out->ip)) {
    case IP_PRIVATE:
        return SYNTH_ADDRESS;
    case IP_LOOPBACK:
        return policy->loopback ? SYNTH_ADDRESS : SYNTH_MISSING;
    case IP_PUBLIC:
        out->ttl_s = SYNTH_TTL_PUBLIC_S;
        return policy->public_answers == SYNTH_PUBLIC_ALL ? SYNTH_ADDRESS : SYNTH_MISSING;
    case IP_FORBIDDEN:
        break;
    }
    return SYNTH_MISSING;
}

void synth_match(struct synth *out, const struct synth_policy *policy, const struct name *name,
                 unsigned n_apex)
{
    static const char CHALLENGE[] = "_acme-challenge";
    unsigned depth = name->n_labels - n_apex;
    if (depth == 0 || !synth_is_id(name_label(name, depth - 1))) {
        out->kind = SYNTH_OTHER;
    } else if (depth == 1) {
        out->kind = SYNTH_DEVICE;
    } else if (depth > 2) {
        out->kind = SYNTH_MISSING;
    } else {
        struct span label = name_label(name, 0);
        if (label.len == sizeof CHALLENGE - 1 && memcmp(label.p, CHALLENGE, label.len) == 0)
            out->kind = SYNTH_CHALLENGE;
        else
            out->kind = match_address(out, policy, label);
    }
}
