/* Canonical form and order: by the rules of RFC 4034 as written down here, and by what ldns makes
 * of the same records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dnsd/core/canon.h"
#include "dnsview.h"

#define N_MAX 4
#define Z "direct.example. 60 IN "

static const struct {
    const char *why;
    const char *in[N_MAX];
    const char *want[N_MAX];
} CASES[] = {
    { "names in data are lower case",
      { Z "MX 9 Mail.DIRECT.Example." },
      { Z "MX 9 mail.direct.example." } },
    { "both names of a SOA",
      { Z "SOA NS.Example. Root.Example. 1 2 3 4 5" },
      { Z "SOA ns.example. root.example. 1 2 3 4 5" } },
    { "behind a priority, a weight and a port",
      { Z "SRV 1 2 3 Host.Example." },
      { Z "SRV 1 2 3 host.example." } },
    { "behind character strings, which stay",
      { Z "NAPTR 1 2 \"S\" \"SIP+D2U\" \"\" Host.Example." },
      { Z "NAPTR 1 2 \"S\" \"SIP+D2U\" \"\" host.example." } },
    { "text stays as it is", { Z "TXT \"Upper\"" }, { Z "TXT \"Upper\"" } },
    { "so does what later types have [RFC 3597 s7]",
      { Z "HTTPS 1 Host.Example." },
      { Z "HTTPS 1 Host.Example." } },
    { "in the order of their bytes, shorter text first: its length is its first byte",
      { Z "TXT \"b\"", Z "TXT \"aa\"", Z "TXT \"a\"" },
      { Z "TXT \"a\"", Z "TXT \"b\"", Z "TXT \"aa\"" } },
    { "bytes are not signed",
      { Z "A 200.0.0.1", Z "A 10.0.0.1" },
      { Z "A 10.0.0.1", Z "A 200.0.0.1" } },
    { "one that is the start of another goes before it",
      { Z "TXT \"a\" \"b\"", Z "TXT \"a\"" },
      { Z "TXT \"a\"", Z "TXT \"a\" \"b\"" } },
    { "the same by now: once", { Z "NS A.Example.", Z "NS a.example." }, { Z "NS a.example." } },
};

/* The set of the first `n` records, as a zone has it. */
static struct rrset set_of(const char *const *texts)
{
    struct rrset set = { .n = 0 };
    for (size_t i = 0; i < N_MAX && texts[i] != NULL; i++) {
        ldns_rr *rr = NULL;
        ldns_buffer *b = ldns_buffer_new(512);
        assert_int_equal(ldns_rr_new_frm_str(&rr, texts[i], 60, NULL, NULL), LDNS_STATUS_OK);
        assert_int_equal(ldns_rr2buffer_wire(b, rr, LDNS_SECTION_ANSWER), LDNS_STATUS_OK);
        set.type = (uint16_t)ldns_rr_get_type(rr);
        size_t owner_len = ldns_rdf_size(ldns_rr_owner(rr));
        size_t len = ldns_buffer_position(b) - owner_len;
        set.rrs = realloc(set.rrs, set.len + 2 + len);
        assert_non_null(set.rrs);
        memcpy(set.rrs + set.len, "\300\014", 2);
        memcpy(set.rrs + set.len + 2, ldns_buffer_at(b, owner_len), len);
        set.len += 2 + len;
        set.n++;
        ldns_buffer_free(b);
        ldns_rr_free(rr);
    }
    return set;
}

static void forms_and_orders(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct rrset got = set_of(CASES[i].in), want = set_of(CASES[i].want);
        assert_int_equal(canon_rrset(&got), ERR_OK);
        if (got.n != want.n || got.len != want.len || memcmp(got.rrs, want.rrs, got.len) != 0)
            fail_msg("%s", CASES[i].why);
        free(got.rrs);
        free(want.rrs);
    }
}

/* ldns puts the same records into the same order, with the same data. */
static void as_ldns_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct rrset got = set_of(CASES[i].in);
        ldns_rr_list *list = ldns_rr_list_new();
        for (size_t k = 0; k < N_MAX && CASES[i].in[k] != NULL; k++) {
            ldns_rr *rr = NULL;
            assert_int_equal(ldns_rr_new_frm_str(&rr, CASES[i].in[k], 60, NULL, NULL),
                             LDNS_STATUS_OK);
            ldns_rr2canonical(rr);
            ldns_rr_list_push_rr(list, rr);
        }
        ldns_rr_list_sort(list);
        assert_int_equal(canon_rrset(&got), ERR_OK);
        const uint8_t *p = got.rrs;
        for (size_t k = 0; k < got.n; k++) {
            size_t len = (size_t)p[10] << 8 | p[11];
            const ldns_rr *rr = ldns_rr_list_rr(list, k);
            size_t at = 0;
            for (size_t f = 0; f < ldns_rr_rd_count(rr); f++) {
                const ldns_rdf *field = ldns_rr_rdf(rr, f);
                if (at + ldns_rdf_size(field) > len ||
                    memcmp(p + ZONE_RR_HEAD + at, ldns_rdf_data(field), ldns_rdf_size(field)) != 0)
                    fail_msg("%s: record %zu", CASES[i].why, k);
                at += ldns_rdf_size(field);
            }
            assert_int_equal(at, len);
            p += ZONE_RR_HEAD + len;
        }
        ldns_rr_list_deep_free(list);
        free(got.rrs);
    }
}

/* Data that is cut short is signed as it is, and nothing behind it is read. */
static void broken_data_is_left_alone(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        unsigned type;
        uint8_t data[8];
        size_t len;
    } BROKEN[] = {
        { "a name without its end", RR_NS, { 3, 'A', 'B', 'C' }, 4 },
        { "a label beyond the data", RR_NS, { 60, 'A' }, 2 },
        { "a priority, and no name", 15, { 0, 1 }, 2 },
        { "half a priority", 15, { 0 }, 1 },
        { "strings beyond the data", 35, { 0, 1, 0, 1, 200, 'A' }, 6 },
        { "nothing", RR_NS, { 0 }, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(BROKEN); i++) {
        size_t len = ZONE_RR_HEAD + BROKEN[i].len;
        struct rrset set = { .type = (uint16_t)BROKEN[i].type, .n = 1, .len = len };
        set.rrs = calloc(1, len);
        assert_non_null(set.rrs);
        set.rrs[11] = (uint8_t)BROKEN[i].len;
        memcpy(set.rrs + ZONE_RR_HEAD, BROKEN[i].data, BROKEN[i].len);
        assert_int_equal(canon_rrset(&set), ERR_OK);
        if (set.n != 1 || set.len != len ||
            memcmp(set.rrs + ZONE_RR_HEAD, BROKEN[i].data, BROKEN[i].len) != 0)
            fail_msg("%s", BROKEN[i].why);
        free(set.rrs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_and_orders),
        cmocka_unit_test(as_ldns_does),
        cmocka_unit_test(broken_data_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
