#include "provisiond/core/admission.h"

#include <string.h>

#include "common/base/attr.h"

static const struct admission_answer ANSWERS[ADMISSION_N] = {
    [ADMISSION_FRESH] = { 201, NULL, NULL, 0 },
    [ADMISSION_KNOWN] = { 200, NULL, NULL, 0 },
    [ADMISSION_SUSPENDED] = { 403, "suspended", "this device is suspended by the operator", 86400 },
    [ADMISSION_QUARANTINED] = { 403, "quarantined",
                                "this device was forgotten, and a certificate for its id is still "
                                "valid: wait until it ends, or ask the operator",
                                86400 },
    [ADMISSION_OTHER_ZONE] = { 409, "other-zone", "this device is enrolled in another zone", 0 },
    [ADMISSION_NOT_LISTED] = { 403, "not-allowed", "the operator does not let this device in", 0 },
    [ADMISSION_KEY_BLOCKED] = { 403, "identity-key-compromised",
                                "this identity key is known to others: make a new one", 0 },
    [ADMISSION_KEY_REUSED] = { 403, "identity-key-reused",
                               "this identity key is another device's: make a new one", 0 },
    [ADMISSION_TOKEN] = { 403, "token-invalid",
                          "the enrolment token is unknown, used up, expired or revoked", 0 },
    [ADMISSION_FACTORY] = { 403, "factory-invalid",
                            "this zone admits devices by a certificate of its factory CA and a "
                            "proof of its key",
                            0 },
    [ADMISSION_FACTORY_REUSED] = { 403, "factory-reused",
                                   "another device was admitted by this factory certificate", 0 },
};

enum admission admission_judge(const struct admission_facts *f, int64_t now_s)
{
    if (f->known && f->suspended)
        return ADMISSION_SUSPENDED;
    if (f->key_blocked)
        return ADMISSION_KEY_BLOCKED;
    if (f->key_reused)
        return ADMISSION_KEY_REUSED;
    if (!f->listed)
        return ADMISSION_NOT_LISTED;
    if (f->known && f->forgotten)
        return f->quarantine_until > now_s ? ADMISSION_QUARANTINED : ADMISSION_FRESH;
    if (f->known)
        return f->same_zone ? ADMISSION_KNOWN : ADMISSION_OTHER_ZONE;
    return ADMISSION_FRESH;
}

const struct admission_answer *admission_answer(enum admission a)
{
    return &ANSWERS[a];
}

size_t admission_prefix(struct span ip, enum admission_net net, uint8_t out[8])
{
    static const uint8_t MAPPED[12] = { [10] = 0xff, 0xff };
    if (ip.len == 16 && memcmp(ip.p, MAPPED, sizeof MAPPED) == 0)
        ip = (struct span){ ip.p + sizeof MAPPED, 4 };
    size_t n = 0;
    if (ip.len == 4)
        n = net == ADMISSION_NET_HOME ? 4 : 3;
    else if (ip.len == 16)
        n = net == ADMISSION_NET_HOME ? 7 : 6;
    if (n > 0)
        memcpy(out, ip.p, n);
    return n;
}
