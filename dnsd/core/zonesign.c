#include "dnsd/core/zonesign.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/dns/wire.h"
#include "dnsd/core/canon.h"

#define KEYS_TTL_S 3600
#define DS_SHA256 2

bool zonesign_by_all(unsigned type)
{
    return type == RR_DNSKEY || type == RR_CDS || type == RR_CDNSKEY;
}

enum err zonesign_ds(uint8_t out[ZONESIGN_DS_LEN], const struct sign_key *key,
                     const struct name *apex)
{
    uint8_t data[NAME_WIRE_MAX + SIGN_DNSKEY_LEN];
    memcpy(data, apex->wire, apex->len);
    memcpy(data + apex->len, key->dnskey, sizeof key->dnskey);
    wire_store16(out, key->tag);
    out[2] = SIGN_ALGORITHM;
    out[3] = DS_SHA256;
    return EVP_Digest(data, apex->len + sizeof key->dnskey, out + 4, NULL, EVP_sha256(), NULL) == 1
               ? ERR_OK
               : ERR_CRYPTO;
}

static enum err add(struct zone *z, unsigned type, const uint8_t *data, size_t len,
                    struct err_info *info)
{
    return zone_add(z, &z->apex, type, KEYS_TTL_S, (struct span){ data, len }, info);
}

enum err zonesign_prepare(struct zone *z, struct keyring *ring, struct err_info *info)
{
    const struct zone_node *apex = zone_find(z, (struct span){ z->apex.wire, z->apex.len });
    bool own = apex != NULL && (node_rrset(apex, RR_CDS) || node_rrset(apex, RR_CDNSKEY));
    enum err e = ERR_OK;
    z->keyring = ring;
    for (size_t i = 0; e == ERR_OK && i < ring->n; i++) {
        const struct sign_key *k = &ring->keys[i].key;
        uint8_t ds[ZONESIGN_DS_LEN];
        e = add(z, RR_DNSKEY, k->dnskey, sizeof k->dnskey, info);
        if (e != ERR_OK || own || !ring->keys[i].wanted)
            continue;
        e = zonesign_ds(ds, k, &z->apex);
        if (e != ERR_OK)
            return err_set(info, e, "zone %s: cannot make a CDS record", z->text);
        e = add(z, RR_CDS, ds, sizeof ds, info);
        if (e == ERR_OK)
            e = add(z, RR_CDNSKEY, k->dnskey, sizeof k->dnskey, info);
    }
    return e;
}

/* Signs one set by one key, behind the signatures that it has. */
static enum err sign_by(struct rrset *set, const struct zone *z, const struct sign_key *key,
                        const struct sign_set *what, struct signer *signer, int64_t now_s)
{
    uint8_t data[SIGN_RRSIG_MAX];
    size_t len;
    enum err e = signer_sign(signer, key, &z->apex, what, now_s, data, &len);
    if (e != ERR_OK)
        return e;
    uint8_t *p = realloc(set->sigs, set->sigs_len + ZONE_RR_HEAD + len);
    if (p == NULL)
        return ERR_NOMEM;
    set->sigs = p;
    p += set->sigs_len;
    wire_store16(p, DNS_POINTER | DNS_HEADER_LEN);
    wire_store16(p + 2, RR_RRSIG);
    wire_store16(p + 4, RR_CLASS_IN);
    wire_store32(p + 6, set->ttl_s);
    wire_store16(p + 10, (unsigned)len);
    memcpy(p + ZONE_RR_HEAD, data, len);
    set->sigs_len += ZONE_RR_HEAD + len;
    set->n_sigs++;
    return ERR_OK;
}

static enum err sign_set(struct rrset *set, const struct zone *z, const struct name *owner,
                         struct signer *signer, int64_t now_s)
{
    enum err e = canon_rrset(set);
    if (e != ERR_OK)
        return e;
    struct sign_set what = { .owner = { owner->wire, owner->len },
                             .n_labels = owner->n_labels,
                             .type = set->type,
                             .ttl_s = set->ttl_s,
                             .rrs = { set->rrs, set->len } };
    struct sign_times t = sign_times(&what, now_s);
    set->sig_from_s = t.from_s;
    set->sig_renew_s = t.renew_s;
    for (size_t i = 0; e == ERR_OK && i < z->keyring->n; i++) {
        if (i == z->keyring->active || zonesign_by_all(set->type))
            e = sign_by(set, z, &z->keyring->keys[i].key, &what, signer, now_s);
    }
    return e;
}

/* Whether the node is under a delegation: never answered, so never signed. */
static bool is_occluded(const struct zone *z, const struct name *name)
{
    for (unsigned i = z->apex.n_labels + 1u; i < name->n_labels; i++) {
        const struct zone_node *n = zone_find(z, name_suffix(name, i));
        if (n != NULL && n->is_cut)
            return true;
    }
    return false;
}

enum err zonesign_finish(struct zone *z, struct signer *signer, int64_t now_s,
                         struct err_info *info)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < z->n_nodes; i++) {
        struct zone_node *n = &z->nodes[i];
        struct name owner;
        e = name_read(&owner, (struct span){ n->name, n->len });
        if (e != ERR_OK || is_occluded(z, &owner))
            continue;
        for (size_t k = 0; e == ERR_OK && k < n->n_sets; k++) {
            if (!n->is_cut || n->sets[k].type == RR_DS)
                e = sign_set(&n->sets[k], z, &owner, signer, now_s);
        }
    }
    if (e == ERR_RANGE)
        return err_set(info, e, "zone %s cannot be signed: the clock of this machine is not set",
                       z->text);
    return e == ERR_OK ? e : err_set(info, e, "zone %s cannot be signed", z->text);
}
