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

/* Whether the policy answers the public address out->ip, with a tag before it in `label` or not. */
static bool public_is_answered(const struct synth *out, const struct synth_policy *policy,
                               const struct guard *guard, struct span label, struct span id,
                               bool tagged)
{
    if (policy->public_answers == SYNTH_PUBLIC_NONE)
        return false;
    if (!tagged)
        return policy->public_answers == SYNTH_PUBLIC_ALL;
    return guard->tag_keys != NULL && tag_check(guard->tag_keys, label, id, &out->ip);
}

/* The address of `label` into *out, as far as the policy goes. */
static enum synth_kind match_address(struct synth *out, const struct synth_policy *policy,
                                     const struct guard *guard, struct span label, struct span id)
{
    struct span text = label;
    bool tagged = label.p[0] == 'p', answered = false; /* no address begins so */
    if (tagged && !tag_split(label, &text))
        return SYNTH_MISSING;
    if (iplabel_decode(&out->ip, text) != ERR_OK)
        return SYNTH_MISSING;
    if (guard->suspended != NULL && suspended_has_ip(guard->suspended, &out->ip)) {
        out->suspended = true;
        return SYNTH_MISSING;
    }
    out->ttl_s = SYNTH_TTL_PRIVATE_S;
    switch (ip_classify(&out->ip)) {
    case IP_PRIVATE:
        answered = !tagged;
        break;
    case IP_LOOPBACK:
        answered = !tagged && policy->loopback;
        break;
    case IP_PUBLIC:
        out->ttl_s = SYNTH_TTL_PUBLIC_S;
        answered = public_is_answered(out, policy, guard, label, id, tagged);
        break;
    case IP_FORBIDDEN:
        break;
    }
    return answered ? SYNTH_ADDRESS : SYNTH_MISSING;
}

void synth_match(struct synth *out, const struct synth_policy *policy, const struct guard *guard,
                 const struct name *name, unsigned n_apex)
{
    static const char CHALLENGE[] = "_acme-challenge";
    unsigned depth = name->n_labels - n_apex;
    struct span id = { NULL, 0 };
    out->suspended = false;
    if (depth > 0)
        id = name_label(name, depth - 1);
    if (depth == 0 || !synth_is_id(id)) {
        out->kind = SYNTH_OTHER;
    } else if (guard->suspended != NULL && suspended_has_id(guard->suspended, id)) {
        out->kind = SYNTH_MISSING;
        out->suspended = true;
    } else if (depth > 2) {
        out->kind = SYNTH_MISSING;
    } else if (depth == 1) {
        out->kind = SYNTH_DEVICE;
    } else {
        struct span label = name_label(name, 0);
        if (label.len == sizeof CHALLENGE - 1 && memcmp(label.p, CHALLENGE, label.len) == 0)
            out->kind = SYNTH_CHALLENGE;
        else
            out->kind = match_address(out, policy, guard, label, id);
    }
}
