#include "dnsd/core/zonesign.h"

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

enum err zonesign_finish(struct zone *z, struct err_info *info)
{
    z->n_sets = 0;
    for (size_t i = 0; i < z->n_nodes; i++) {
        for (size_t k = 0; k < z->nodes[i].n_sets; k++) {
            struct rrset *set = &z->nodes[i].sets[k];
            set->number = z->n_sets++;
            if (canon_rrset(set) != ERR_OK)
                return err_set(info, ERR_NOMEM, "out of memory");
        }
    }
    return ERR_OK;
}
