/* dnssigned.h - a signed zone for tests of the answer path, direct.example of dnsview.h, and ldns,
 * which tells whether what is answered from it verifies. */
#ifndef LANYARD_TESTS_DNSSIGNED_H
#define LANYARD_TESTS_DNSSIGNED_H

#include "dnsd/core/zonesign.h"
#include "dnsview.h"

struct dnssigned {
    struct view *view;
    ldns_rr_list *keys; /* the DNSKEY records */
};

static inline struct keyring *dnssigned_ring(unsigned n)
{
    struct keyring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        dnsview_die("out of memory");
    for (unsigned i = 0; i < n; i++) {
        uint8_t secret[SIGN_SECRET_LEN] = { [5] = (uint8_t)(i + 1), [31] = 7 };
        if (sign_key_init(&ring->keys[i].key, secret) != ERR_OK)
            dnsview_die("sign_key_init");
        ring->keys[i].wanted = true;
        ring->n++;
    }
    return ring;
}

static inline ldns_rr *dnssigned_key(const struct sign_key *k)
{
    ldns_rr *rr = ldns_rr_new();
    ldns_rr_set_type(rr, LDNS_RR_TYPE_DNSKEY);
    ldns_rr_set_owner(rr, ldns_dname_new_frm_str("direct.example."));
    ldns_rr_push_rdf(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, 257));
    ldns_rr_push_rdf(rr, ldns_native2rdf_int8(LDNS_RDF_TYPE_INT8, 3));
    ldns_rr_push_rdf(rr, ldns_native2rdf_int8(LDNS_RDF_TYPE_ALG, SIGN_ALGORITHM));
    ldns_rr_push_rdf(rr, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_B64, 64, k->dnskey + 4));
    if (ldns_calc_keytag(rr) != k->tag)
        dnsview_die("key tag");
    return rr;
}

/* Signed at `now_s` by the first of `n_keys` keys; with a challenge store and accounts. */
static inline void dnssigned_init(struct dnssigned *d, unsigned n_keys, int64_t now_s)
{
    static const char *const MORE[] = { "mx.direct.example. 60 IN MX 9 Mail.Direct.Example.",
                                        "two.direct.example. 60 IN TXT \"b\"",
                                        "two.direct.example. 60 IN TXT \"aa\"",
                                        "two.direct.example. 60 IN TXT \"a\"" };
    struct zone **zones = calloc(1, sizeof(struct zone *));
    struct signer *ahead = NULL;
    struct zone *z = dnsview_zone("direct.example", DNSVIEW_DIRECT, ARRAY_LEN(DNSVIEW_DIRECT));
    if (zones == NULL)
        dnsview_die("out of memory");
    for (size_t i = 0; i < ARRAY_LEN(MORE); i++) {
        if (dnsview_add(z, MORE[i], NULL) != ERR_OK)
            dnsview_die(MORE[i]);
    }
    dnsview_add_big(z, 20);
    z->challenges = strdup("sqlite:challenges.db");
    zones[0] = z;
    if (zonesign_prepare(z, dnssigned_ring(n_keys), NULL) != ERR_OK ||
        zone_finish(z, NULL) != ERR_OK || zonesign_finish(z, NULL) != ERR_OK ||
        view_new(&d->view, zones, 1) != ERR_OK || signer_new(&ahead, 0) != ERR_OK ||
        presigned_new(&d->view->presigned[0], z, ahead, now_s) != ERR_OK)
        dnsview_die("signing");
    signer_free(ahead);
    dnsview_persist(d->view, z);
    d->keys = ldns_rr_list_new();
    for (size_t i = 0; i < z->keyring->n; i++)
        ldns_rr_list_push_rr(d->keys, dnssigned_key(&z->keyring->keys[i].key));
}

static inline void dnssigned_clear(struct dnssigned *d)
{
    ldns_rr_list_deep_free(d->keys);
    view_free(d->view);
}

/* Copies of the signatures in the list; NULL for none. */
static inline ldns_rr_list *dnssigned_signatures(const ldns_rr_list *list)
{
    ldns_rr_list *sigs = NULL;
    for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
        if (ldns_rr_get_type(ldns_rr_list_rr(list, i)) != LDNS_RR_TYPE_RRSIG)
            continue;
        sigs = sigs == NULL ? ldns_rr_list_new() : sigs;
        ldns_rr_list_push_rr(sigs, ldns_rr_clone(ldns_rr_list_rr(list, i)));
    }
    return sigs;
}

/* How many sets of the section verify at `at_s`; -1 when one does not, but for the NS records of a
 * referral, which go unsigned. */
static inline int dnssigned_verify(const struct dnssigned *d, const ldns_rr_list *section,
                                   int64_t at_s)
{
    int n = 0;
    ldns_rr_list *rest = ldns_rr_list_clone(section), *set;
    ldns_rr_list *sigs = dnssigned_signatures(rest);
    while ((set = ldns_rr_list_pop_rrset(rest)) != NULL) {
        ldns_rr_type type = ldns_rr_list_type(set);
        ldns_rr_list *own = ldns_rr_list_new();
        for (size_t i = 0; sigs != NULL && i < ldns_rr_list_rr_count(sigs); i++) {
            ldns_rr *sig = ldns_rr_list_rr(sigs, i);
            if (ldns_rdf2rr_type(ldns_rr_rrsig_typecovered(sig)) == type &&
                ldns_dname_compare(ldns_rr_owner(sig), ldns_rr_list_owner(set)) == 0)
                ldns_rr_list_push_rr(own, sig);
        }
        bool wanted = type != LDNS_RR_TYPE_RRSIG &&
                      (type != LDNS_RR_TYPE_NS || ldns_rr_list_rr_count(own) > 0);
        if (wanted && ldns_verify_time(set, own, d->keys, (time_t)at_s, NULL) != LDNS_STATUS_OK)
            n = -1;
        else if (wanted && n >= 0)
            n++;
        ldns_rr_list_free(own);
        ldns_rr_list_deep_free(set);
    }
    ldns_rr_list_deep_free(sigs);
    ldns_rr_list_deep_free(rest);
    return n;
}

#endif
