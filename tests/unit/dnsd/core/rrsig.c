/* Signed replies as ldns verifies them: every record set in them, at the time of the query and for
 * a week more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dnssigned.h"

#define NOW (SIGN_CLOCK_MIN + 1700000)
#define ID DNSVIEW_ID
#define D ".direct.example."
#define DAY 86400

struct fixture {
    struct dnssigned kit;
    struct query_ctx ctx;
    struct signer *later; /* of the reader */
    uint8_t reply[65535];
};

enum { DO = 1, CO = 2, TCP = 4 };

static int set_up(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);
    assert_non_null(fx);
    dnssigned_init(&fx->kit, 2, NOW);
    fx->ctx.view = fx->kit.view;
    fx->ctx.now_s = NOW;
    assert_int_equal(signer_new(&fx->ctx.signer, SIGNER_KEPT), ERR_OK);
    assert_int_equal(signer_new(&fx->later, 64), ERR_OK);
    *state = fx;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;
    signer_free(fx->ctx.signer);
    signer_free(fx->later);
    dnssigned_clear(&fx->kit);
    free(fx);
    return 0;
}

static size_t put_query(uint8_t *p, const char *name, unsigned type, unsigned flags)
{
    struct name n;
    char text[256];
    (void)snprintf(text, sizeof text, "%s", name);
    assert_int_equal(name_parse(&n, text), ERR_OK);
    const uint8_t head[12] = { 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1 };
    memcpy(p, head, sizeof head);
    memcpy(p + 12, n.wire, n.len);
    size_t len = 12 + (size_t)n.len;
    const uint8_t tail[15] = { (uint8_t)(type >> 8),
                               (uint8_t)type,
                               0,
                               1,
                               0,
                               0,
                               41,
                               4,
                               208,
                               0,
                               0,
                               (uint8_t)((flags & DO ? 0x80 : 0) | (flags & CO ? 0x40 : 0)) };
    memcpy(p + len, tail, sizeof tail);
    return len + sizeof tail;
}

static const struct span VALUES[] = { { (const uint8_t *)"zz", 2 },
                                      { (const uint8_t *)"b", 1 },
                                      { (const uint8_t *)"aa", 2 } };

/* The reply; a challenge question is ended with `n_values` values. */
static ldns_pkt *ask(struct fixture *fx, const char *name, unsigned type, unsigned flags,
                     size_t n_values, size_t *reply_len)
{
    uint8_t request[512];
    size_t len = put_query(request, name, type, flags);
    const struct peer peer = { .stream = (flags & TCP) != 0 };
    size_t n =
        query_answer(&fx->ctx, fx->reply, sizeof fx->reply, (struct span){ request, len }, &peer);
    if (fx->ctx.deferred)
        n = query_end_challenge(&fx->ctx.challenge, VALUES, n_values, fx->later, fx->reply,
                                sizeof fx->reply);
    ldns_pkt *p = NULL;
    assert_int_equal(ldns_wire2pkt(&p, fx->reply, n), LDNS_STATUS_OK);
    if (!peer.stream && (flags & DO) != 0)
        assert_true(n <= 10 * len); /* no amplifier */
    if (reply_len != NULL)
        *reply_len = n;
    return p;
}

/* How many sets of the section verify. */
static unsigned verify(const struct fixture *fx, const ldns_rr_list *section, int64_t at_s)
{
    int n = dnssigned_verify(&fx->kit, section, at_s);
    if (n < 0) {
        ldns_rr_list_print(stderr, section);
        fail_msg("it does not verify");
    }
    return (unsigned)n;
}

static const struct {
    const char *why, *name;
    unsigned type;
    unsigned n_answer, n_authority; /* verified sets */
    unsigned flags;                 /* TCP where it is over ten times the question */
} SIGNED[] = {
    { "a private address", "10-0-0-5." ID D, RR_A, 1, 0, 0 },
    { "IPv6", "fd00--1." ID D, RR_AAAA, 1, 0, 0 },
    { "any case", "FD00--A." ID ".Direct.EXAMPLE.", RR_AAAA, 1, 0, 0 },
    { "what tells a filter", "10-0-0-5." ID D, RR_TXT, 1, 0, 0 },
    { "the other family", "10-0-0-5." ID D, RR_AAAA, 0, 2, 0 },
    { "ANY", "10-0-0-5." ID D, RR_ANY, 1, 0, 0 },
    { "the denial itself", "10-0-0-5." ID D, RR_NSEC, 1, 0, 0 },
    { "an empty non-terminal", ID D, RR_A, 0, 2, 0 },
    { "no such name under an id", "x." ID D, RR_A, 0, 2, 0 },
    { "no such name", "missing" D, RR_A, 0, 2, 0 },
    { "a challenge's other type", "_acme-challenge." ID D, RR_A, 0, 2, 0 },
    { "challenge values", "_acme-challenge." ID D, RR_TXT, 1, 0, 0 },
    { "accounts", "_validation-persist." ID D, RR_TXT, 1, 0, TCP },
    { "accounts' other type", "_validation-persist." ID D, RR_A, 0, 2, 0 },
    { "the apex", "direct.example.", RR_SOA, 1, 0, 0 },
    { "a type above 255", "direct.example.", 257, 1, 0, 0 },
    { "keys", "direct.example.", RR_DNSKEY, 1, 0, 0 },
    { "for the parent", "direct.example.", RR_CDS, 1, 0, 0 },
    { "for the parent, the other form", "direct.example.", RR_CDNSKEY, 1, 0, 0 },
    { "apex without the type", "direct.example.", RR_A, 0, 2, 0 },
    { "a name in the data", "mx" D, 15, 1, 0, 0 },
    { "records out of order", "two" D, RR_TXT, 1, 0, 0 },
    { "CNAME and its target", "www" D, RR_A, 2, 0, 0 },
    { "CNAME to a synthesised name", "home" D, RR_A, 2, 0, 0 },
    { "CNAME to nowhere", "gone" D, RR_A, 1, 2, TCP },
    { "a static empty non-terminal", "ent" D, RR_A, 0, 2, 0 },
    { "a signed child", "a.acme" D, RR_A, 0, 1, 0 },
    { "DS", "acme" D, RR_DS, 1, 0, 0 },
    { "an unsigned child", "a.sub" D, RR_A, 0, 1, 0 },
    { "no DS", "sub" D, RR_DS, 0, 2, 0 },
};

static void test_everything_verifies(void **state)
{
    struct fixture *fx = *state;
    static const int64_t AFTER_S[] = { 0, 3 * DAY, 8 * DAY, 40 * DAY };
    for (size_t k = 0; k < ARRAY_LEN(AFTER_S); k++) {
        fx->ctx.now_s = NOW + AFTER_S[k];
        for (size_t i = 0; i < ARRAY_LEN(SIGNED); i++) {
            ldns_pkt *p = ask(fx, SIGNED[i].name, SIGNED[i].type, DO | SIGNED[i].flags, 3, NULL);
            /* from now to the end of the week that it may stay in use */
            for (int64_t d = -1; d <= 7; d++) { /* and our clock may be a day ahead */
                int64_t at_s = fx->ctx.now_s + d * DAY - 1;
                if (verify(fx, ldns_pkt_answer(p), at_s) != SIGNED[i].n_answer ||
                    verify(fx, ldns_pkt_authority(p), at_s) != SIGNED[i].n_authority) {
                    ldns_pkt_print(stderr, p);
                    fail_msg("%s", SIGNED[i].why);
                }
            }
            assert_true(ldns_pkt_edns_do(p));
            assert_false(ldns_pkt_ad(p));
            assert_false(ldns_pkt_tc(p));
            ldns_pkt_free(p);
        }
    }
}

/* The SOA of a denial may be kept for less than what is signed, never longer, and so may what goes
 * with it [RFC 2308 s3, RFC 4034 s3, RFC 4035 s5.3.3]. The SOA's TTL is 600, MINIMUM 300. */
static void test_negative_ttls(void **state)
{
    static const struct {
        const char *why, *name;
        unsigned ttl_s;
    } CASES[] = {
        { "a type that a device's name lacks", "10-0-0-5." ID D, 300 },
        { "a type that a static name lacks", "direct.example.", 300 },
        { "no such name", "x." ID D, 60 },
        { "a challenge", "_acme-challenge." ID D, 1 },
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        ldns_pkt *p = ask(fx, CASES[i].name, RR_AAAA, DO, 0, NULL);
        const ldns_rr_list *l = ldns_pkt_authority(p);
        assert_int_equal(ldns_rr_list_rr_count(l), 4); /* SOA, NSEC, and their signatures */
        for (size_t k = 0; k < ldns_rr_list_rr_count(l); k++) {
            ldns_rr *rr = ldns_rr_list_rr(l, k);
            if (ldns_rr_ttl(rr) != CASES[i].ttl_s)
                fail_msg("%s: %u, not %u", CASES[i].why, ldns_rr_ttl(rr), CASES[i].ttl_s);
            if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_RRSIG)
                continue;
            uint32_t original_s = ldns_rdf2native_int32(ldns_rr_rrsig_origttl(rr));
            bool of_soa = ldns_rdf2rr_type(ldns_rr_rrsig_typecovered(rr)) == LDNS_RR_TYPE_SOA;
            assert_int_equal(original_s, of_soa ? 600 : CASES[i].ttl_s);
        }
        ldns_pkt_free(p);
    }
}

/* The control: a bit that is wrong anywhere is noticed. */
static void test_a_broken_signature_does_not_verify(void **state)
{
    struct fixture *fx = *state;
    size_t n;
    ldns_pkt *p = ask(fx, "10-0-0-5." ID D, RR_A, DO, 0, &n);
    ldns_pkt_free(p);
    fx->reply[n - 12] ^= 1; /* of the signature: the OPT record has 11 bytes */
    assert_int_equal(ldns_wire2pkt(&p, fx->reply, n), LDNS_STATUS_OK);
    ldns_rr_list *set = ldns_pkt_rr_list_by_type(p, LDNS_RR_TYPE_A, LDNS_SECTION_ANSWER);
    ldns_rr_list *sig = ldns_pkt_rr_list_by_type(p, LDNS_RR_TYPE_RRSIG, LDNS_SECTION_ANSWER);
    assert_int_not_equal(ldns_verify_time(set, sig, fx->kit.keys, NOW, NULL), LDNS_STATUS_OK);
    ldns_rr_list_deep_free(set);
    ldns_rr_list_deep_free(sig);
    ldns_pkt_free(p);
}

static const struct {
    const char *why, *name;
    unsigned flags;
    ldns_pkt_rcode rcode;
    const char *types; /* of the NSEC record */
} DENIALS[] = {
    { "a missing name says so in its types", "x." ID D, DO, LDNS_RCODE_NOERROR,
      "RRSIG NSEC TYPE128 " },
    { "and in the code where CO allows it", "x." ID D, DO | CO, LDNS_RCODE_NXDOMAIN,
      "RRSIG NSEC TYPE128 " },
    { "without DO the code is what it always was", "x." ID D, CO, LDNS_RCODE_NXDOMAIN, NULL },
    { "an empty non-terminal exists", ID D, DO | CO, LDNS_RCODE_NOERROR, "RRSIG NSEC " },
    { "a name and what it has", "10-0-0-5." ID D, DO, LDNS_RCODE_NOERROR, "A TXT RRSIG NSEC " },
    { "IPv6", "fd00--1." ID D, DO, LDNS_RCODE_NOERROR, "TXT AAAA RRSIG NSEC " },
    { "TXT may be there", "_acme-challenge." ID D, DO, LDNS_RCODE_NOERROR, "TXT RRSIG NSEC " },
    { "accounts are there", "_validation-persist." ID D, DO, LDNS_RCODE_NOERROR,
      "TXT RRSIG NSEC " },
    { "the apex", "direct.example.", DO, LDNS_RCODE_NOERROR,
      "NS SOA RRSIG NSEC DNSKEY CDS CDNSKEY CAA " },
    { "an unsigned child", "a.sub" D, DO, LDNS_RCODE_NOERROR, "NS RRSIG NSEC " },
};

static void test_case_14_denials(void **state)
{
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(DENIALS); i++) {
        ldns_pkt *p = ask(fx, DENIALS[i].name, 13, DENIALS[i].flags, 0, NULL);
        ldns_rr_list *nsec = ldns_pkt_rr_list_by_type(p, LDNS_RR_TYPE_NSEC, LDNS_SECTION_AUTHORITY);
        char *types = nsec == NULL ? NULL : ldns_rdf2str(ldns_rr_rdf(ldns_rr_list_rr(nsec, 0), 1));
        if (ldns_pkt_get_rcode(p) != DENIALS[i].rcode ||
            (types == NULL) != (DENIALS[i].types == NULL) ||
            (types != NULL && strcmp(types, DENIALS[i].types) != 0))
            fail_msg("%s: %u %s", DENIALS[i].why, (unsigned)ldns_pkt_get_rcode(p), types);
        free(types);
        ldns_rr_list_deep_free(nsec);
        ldns_pkt_free(p);
    }
    ldns_pkt *p = ask(fx, "10-0-0-5." ID D, RR_NXNAME, DO, 0, NULL);
    assert_int_equal(ldns_pkt_get_rcode(p), LDNS_RCODE_FORMERR);
    ldns_pkt_free(p);
    p = ask(fx, "10-0-0-5." ID D, RR_RRSIG, 0, 0, NULL);
    assert_int_equal(ldns_pkt_ancount(p), 1); /* one, whatever there is */
    ldns_pkt_free(p);
}

/* Who asked before, and how, changes nothing. */
static void test_case_13_do_and_not_do(void **state)
{
    struct fixture *fx = *state;
    static const unsigned ORDER[] = { 0, DO, 0, DO | TCP, TCP, DO };
    for (size_t i = 0; i < ARRAY_LEN(SIGNED); i++) {
        for (size_t k = 0; k < ARRAY_LEN(ORDER); k++) {
            ldns_pkt *p =
                ask(fx, SIGNED[i].name, SIGNED[i].type, ORDER[k] | SIGNED[i].flags, 3, NULL);
            ldns_rr_list *all = ldns_pkt_all_noquestion(p);
            ldns_rr_list *sigs = dnssigned_signatures(all);
            if ((sigs != NULL) != ((ORDER[k] & DO) != 0) ||
                ldns_pkt_edns_do(p) != ((ORDER[k] & DO) != 0))
                fail_msg("%s, as question %zu", SIGNED[i].why, k);
            ldns_rr_list_deep_free(sigs);
            ldns_rr_list_deep_free(all);
            ldns_pkt_free(p);
        }
    }
}

static void test_a_signature_is_kept(void **state)
{
    struct fixture *fx = *state;
    const struct signer_counts *n = signer_counts(fx->ctx.signer);
    for (unsigned i = 0; i < 5; i++)
        ldns_pkt_free(ask(fx, "10-0-0-5." ID D, RR_A, DO, 0, NULL));
    assert_int_equal(metric_get(&n->made), 1);
    assert_int_equal(metric_get(&n->cached), 4);
    ldns_pkt_free(ask(fx, "www" D, RR_A, DO, 0, NULL)); /* static: made ahead */
    assert_int_equal(metric_get(&n->made), 1);
}

static void test_case_7_over_the_budget(void **state)
{
    struct fixture *fx = *state;
    fx->kit.view->zones[0]->keyring->budget = 1;
    ldns_pkt_free(ask(fx, "10-0-0-1." ID D, RR_A, DO, 0, NULL));
    ldns_pkt *p = ask(fx, "10-0-0-2." ID D, RR_A, DO, 0, NULL);
    assert_true(ldns_pkt_tc(p));
    assert_int_equal(ldns_pkt_ancount(p), 0);
    ldns_pkt_free(p);
    p = ask(fx, "10-0-0-2." ID D, RR_A, DO | TCP, 0, NULL);
    assert_int_equal(ldns_pkt_get_rcode(p), LDNS_RCODE_SERVFAIL);
    assert_int_equal(ldns_pkt_ancount(p), 0);
    ldns_pkt_free(p);
    p = ask(fx, "10-0-0-1." ID D, RR_A, DO, 0, NULL); /* kept, so it costs nothing */
    assert_int_equal(verify(fx, ldns_pkt_answer(p), NOW), 1);
    ldns_pkt_free(p);
    p = ask(fx, "10-0-0-2." ID D, RR_A, 0, 0, NULL); /* unsigned is not limited */
    assert_int_equal(ldns_pkt_ancount(p), 1);
    ldns_pkt_free(p);
    assert_int_equal(metric_get(&signer_counts(fx->ctx.signer)->refused), 2);
    fx->ctx.now_s++;
    p = ask(fx, "10-0-0-2." ID D, RR_A, DO, 0, NULL);
    assert_int_equal(verify(fx, ldns_pkt_answer(p), NOW), 1);
    ldns_pkt_free(p);
}

static void test_case_12_no_clock_and_no_signer(void **state)
{
    struct fixture *fx = *state;
    fx->ctx.now_s = 1000; /* 1970 */
    for (size_t i = 0; i < 2; i++) {
        ldns_pkt *p = ask(fx, i == 0 ? "10-0-0-1." ID D : "ns1" D, RR_A, DO, 0, NULL);
        assert_int_equal(ldns_pkt_get_rcode(p), LDNS_RCODE_SERVFAIL);
        assert_int_equal(ldns_pkt_ancount(p), 0);
        ldns_pkt_free(p);
        p = ask(fx, "10-0-0-1." ID D, RR_A, 0, 0, NULL);
        assert_int_equal(ldns_pkt_ancount(p), 1);
        ldns_pkt_free(p);
    }
    struct signer *signer = fx->ctx.signer;
    fx->ctx.now_s = NOW;
    fx->ctx.signer = NULL;
    ldns_pkt *p = ask(fx, "10-0-0-1." ID D, RR_A, DO, 0, NULL);
    assert_int_equal(ldns_pkt_get_rcode(p), LDNS_RCODE_SERVFAIL);
    ldns_pkt_free(p);
    fx->ctx.signer = signer;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everything_verifies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_negative_ttls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_broken_signature_does_not_verify, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_case_14_denials, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_case_13_do_and_not_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_signature_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_case_7_over_the_budget, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_case_12_no_clock_and_no_signer, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
