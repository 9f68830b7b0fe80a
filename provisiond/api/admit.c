#include "provisiond/api/admit.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/core/admission.h"

int64_t admit_wait_s(struct call *c)
{
    struct gcra_table *const tables[] = { c->api->enroll_limit, c->api->enroll_limit_net };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        uint8_t prefix[8];
        struct span ip = addr_ip((const struct sockaddr *)&c->peer.ss);
        size_t n = admission_prefix(ip, (enum admission_net)i, prefix);
        int64_t wait_ms = gcra_table_take(tables[i], (struct span){ prefix, n }, clock_mono_ms());
        if (wait_ms > 0)
            return wait_ms / 1000 + 1;
    }
    return 0;
}

/* A token that has not even the form of one is looked up as one that nobody has: the answer and
 * the work are the same. */
static void prepare_token(struct call *c, struct span token)
{
    memset(c->token_hash, 0, sizeof c->token_hash);
    if (token_hash(c->token_hash, TOKEN_ENROLMENT, token) != ERR_OK)
        memset(c->token_hash, 0, sizeof c->token_hash);
    c->request.token_hash = c->token_hash;
}

static void prepare_factory(struct call *c, const struct admit_credential *cred,
                            const struct factory *f)
{
    struct err_info info;
    c->request.needs_factory = true;
    if (cred->factory_chain == NULL || f == NULL)
        return;
    struct factory_claim claim = { .chain = cred->factory_chain,
                                   .identity = httpd_peer_key(c->req),
                                   .identity_spki_sha256 = c->spki_sha256,
                                   .zone = c->zone->name,
                                   .proof = cred->factory_proof,
                                   .now_s = clock_now_s() };
    if (factory_check(f, &claim, c->factory_spki_sha256, c->factory_serial, &info) == ERR_OK)
        c->request.factory_spki_sha256 = c->factory_spki_sha256;
}

void admit_prepare(struct call *c, const struct admit_credential *cred)
{
    const struct config *config = c->api->parts.config;
    const struct admit_lists *lists = admitlists_now(c->api->lists);
    const struct admit_zone *z = &lists->zones[c->zone - config->zones];
    const uint8_t *id = (const uint8_t *)c->id.text;
    c->request = (struct device_request){
        .id = c->id.text,
        .zone = c->zone->name,
        .key_blocked = digestset_has(lists->blocked_keys, c->spki_sha256),
        .listed = (z->allow == NULL || digestset_has(z->allow, id)) && !digestset_has(z->deny, id),
    };
    memcpy(c->request.spki_sha256, c->spki_sha256, SPKI_HASH_LEN);
    if (c->zone->enroll == CONFIG_ENROLL_TOKEN)
        prepare_token(c, cred->token);
    else if (c->zone->enroll == CONFIG_ENROLL_FACTORY)
        prepare_factory(c, cred, z->factory);
}

static enum err audit_fresh(struct call *c, struct sql *db, int64_t now_s)
{
    if (c->token_id != 0)
        return call_audit(c, db, now_s, "enroll", "zone %.180s, by token %lld", c->zone->name,
                          (long long)c->token_id);
    if (c->request.needs_factory)
        return call_audit(c, db, now_s, "enroll", "zone %.180s, by factory certificate %s",
                          c->zone->name, c->factory_serial);
    return call_audit(c, db, now_s, "enroll", "zone %.180s, open", c->zone->name);
}

enum err admit_run(struct call *c, struct sql *db, int64_t now_s)
{
    enum err e = device_admit(db, &c->request, now_s, &c->admission, &c->token_id, &c->job.info);
    if (e != ERR_OK)
        return e;
    if (c->admission == ADMISSION_FRESH)
        return audit_fresh(c, db, now_s);
    if (c->admission == ADMISSION_KEY_REUSED)
        return call_audit_rarely(c, db, now_s, "identity-key-reused", "");
    if (c->admission == ADMISSION_KEY_BLOCKED)
        return call_audit_rarely(c, db, now_s, "identity-key-compromised", "");
    if (c->admission == ADMISSION_FACTORY_REUSED)
        return call_audit_rarely(c, db, now_s, "factory-reused", c->factory_serial);
    return ERR_OK;
}
