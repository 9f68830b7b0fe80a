#include "dnsd/core/synth.h"

#include <string.h>

bool synth_is_id(struct span label)
{
    if (label.len != SYNTH_ID_LEN)
        return false;
    uint8_t bad = 0;
    for (unsigned i = 0; i < SYNTH_ID_LEN; i++) { /* no branch: the compiler does 16 at once */
        uint8_t is_letter = (uint8_t)(label.p[i] - 'a') < 26;
        uint8_t is_digit = (uint8_t)(label.p[i] - '2') < 6;
        bad |= (is_letter | is_digit) ^ 1;
    }
    return bad == 0;
}

static bool ip_is_suspended(struct synth *out, const struct guard *guard)
{
    out->suspended = guard->suspended != NULL && suspended_has_ip(guard->suspended, &out->ip);
    return out->suspended;
}

/* The address of `label`, which has no tag, into *out, as far as the policy goes. */
static enum synth_kind match_address(struct synth *out, const struct synth_policy *policy,
                                     const struct guard *guard, struct span label)
{
    if (iplabel_decode(&out->ip, label) != ERR_OK || ip_is_suspended(out, guard))
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

/* The same for a label that begins as one with a tag, of device `id`. */
static APART enum synth_kind match_tagged(struct synth *out, const struct synth_policy *policy,
                                          const struct guard *guard, struct span label,
                                          struct span id)
{
    struct span text;
    if (policy->public_answers == SYNTH_PUBLIC_NONE || guard->tag_keys == NULL ||
        !tag_split(label, &text) || iplabel_decode(&out->ip, text) != ERR_OK ||
        ip_is_suspended(out, guard) || ip_classify(&out->ip) != IP_PUBLIC ||
        !tag_check(guard->tag_keys, label, id, &out->ip))
        return SYNTH_MISSING;
    out->ttl_s = SYNTH_TTL_PUBLIC_S;
    return SYNTH_ADDRESS;
}

/* A label that begins as those of challenges do. */
static APART enum synth_kind match_challenge(struct synth *out, const struct guard *guard,
                                             struct span label)
{
    static const char CHALLENGE[] = "_acme-challenge", PERSIST[] = "_validation-persist";
    out->persist = guard->persist != NULL && label.len == sizeof PERSIST - 1 &&
                   memcmp(label.p, PERSIST, label.len) == 0;
    if (out->persist ||
        (label.len == sizeof CHALLENGE - 1 && memcmp(label.p, CHALLENGE, label.len) == 0))
        return SYNTH_CHALLENGE;
    return SYNTH_MISSING;
}

void synth_match(struct synth *out, const struct synth_policy *policy, const struct guard *guard,
                 const struct name *name, unsigned n_apex)
{
    unsigned depth = name->n_labels - n_apex;
    out->suspended = false;
    if (depth == 0 || !synth_is_id(name_label(name, depth - 1))) {
        out->kind = SYNTH_OTHER;
    } else if (guard->suspended != NULL &&
               suspended_has_id(guard->suspended, name_label(name, depth - 1))) {
        out->kind = SYNTH_MISSING;
        out->suspended = true;
    } else if (depth == 1) {
        out->kind = policy->challenges_only ? SYNTH_CHALLENGE : SYNTH_DEVICE;
        out->persist = false;
    } else if (depth > 2 || policy->challenges_only) {
        out->kind = SYNTH_MISSING;
    } else {
        struct span label = name_label(name, 0);
        if (label.p[0] == '_')
            out->kind = match_challenge(out, guard, label);
        else if (label.p[0] == 'p') /* no address begins so */
            out->kind = match_tagged(out, policy, guard, label, name_label(name, 1));
        else
            out->kind = match_address(out, policy, guard, label);
    }
}
