/* NSEC data: the types as ldns reads them, and a next name that no other name can come before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dnsd/core/denial.h"
#include "dnsview.h"

#define APEX "direct.example."

struct fixture {
    struct name apex;
    uint8_t data[1024];
    size_t len;
    size_t next_len; /* of the name in it */
};

static struct fixture fx;

static int set_up(void **state)
{
    (void)state;
    return name_parse(&fx.apex, APEX) == ERR_OK ? 0 : -1;
}

/* The data of the record at `owner`. */
static void write_at(const struct name *owner, const struct denial *d)
{
    struct wire_writer w = { .p = fx.data, .cap = sizeof fx.data };
    denial_write(&w, owner, &fx.apex, d);
    assert_false(w.overflow);
    fx.len = w.len;
    struct name next;
    assert_int_equal(name_read(&next, (struct span){ fx.data, fx.len }), ERR_OK);
    fx.next_len = next.len;
    assert_memory_equal(next.wire, fx.data, next.len); /* it is in lower case already */
}

static void check_types(const char *why, const char *want)
{
    ldns_rdf *bits =
        ldns_rdf_new_frm_data(LDNS_RDF_TYPE_NSEC, fx.len - fx.next_len, fx.data + fx.next_len);
    char *text = ldns_rdf2str(bits);
    if (strcmp(text, want) != 0)
        fail_msg("%s: %s", why, text);
    free(text);
    ldns_rdf_deep_free(bits);
}

static struct rrset sets[256];

/* A node with the `n` types. */
static struct zone_node node_of(const uint16_t *types, size_t n, bool is_cut)
{
    for (size_t i = 0; i < n; i++)
        sets[i].type = types[i];
    return (struct zone_node){ .is_cut = is_cut, .n_sets = (uint8_t)n, .sets = sets };
}

static void types(void **state)
{
    (void)state;
    struct name owner;
    static const uint16_t MANY[] = { 257, 1, 16, 2, 6 }, CUT[] = { RR_NS, RR_A, RR_DS, RR_TXT },
                          FAR[] = { 65535, 1, 65280 };
    const struct zone_node many = node_of(MANY, ARRAY_LEN(MANY), false);
    assert_int_equal(name_parse(&owner, "a." APEX), ERR_OK);
    write_at(&owner, &(struct denial){ .node = NULL });
    check_types("nothing but itself", "RRSIG NSEC ");
    write_at(&owner, &(struct denial){ .missing = true });
    check_types("no such name", "RRSIG NSEC TYPE128 ");
    write_at(&owner, &(struct denial){ .n_types = 2, .types = { RR_AAAA, RR_TXT } });
    check_types("of a synthesised name, in order", "TXT AAAA RRSIG NSEC ");
    write_at(&owner, &(struct denial){ .node = &many });
    check_types("of a static one, two windows", "A NS SOA TXT RRSIG NSEC CAA ");
    const struct zone_node cut = node_of(CUT, ARRAY_LEN(CUT), true);
    write_at(&owner, &(struct denial){ .node = &cut });
    check_types("of a delegation only what is the parent's", "NS DS RRSIG NSEC ");
    const struct zone_node far = node_of(FAR, ARRAY_LEN(FAR), false);
    write_at(&owner, &(struct denial){ .node = &far });
    check_types("three windows, and their last types", "A RRSIG NSEC TYPE65280 TYPE65535 ");
}

/* A node with as many sets as there can be: each in a window of its own. */
static void very_many_types(void **state)
{
    (void)state;
    struct name owner;
    uint16_t list[255];
    for (unsigned i = 0; i < 255; i++)
        list[i] = (uint16_t)(65535 - 256 * i);
    const struct zone_node node = node_of(list, 255, false);
    assert_int_equal(name_parse(&owner, "a." APEX), ERR_OK);
    struct wire_writer w = { .p = fx.data, .cap = sizeof fx.data };
    denial_write(&w, &owner, &fx.apex, &(struct denial){ .missing = true, .node = &node });
    assert_true(w.overflow); /* more than the buffer: said, not written */
    assert_true(w.len <= sizeof fx.data);
}

/* Compares two names in wire form by RFC 4034 s6.1: labels from the right, by their bytes. */
static int compare(struct span a, struct span b)
{
    ldns_rdf *x = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, a.len, a.p),
             *y = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, b.len, b.p);
    int order = ldns_dname_compare(x, y);
    ldns_rdf_deep_free(x);
    ldns_rdf_deep_free(y);
    return order;
}

/* A name of `len` bytes in all, its first label of bytes `fill`, its last label `last`. */
static void make_owner(struct name *out, size_t len, uint8_t fill, uint8_t last)
{
    uint8_t wire[NAME_WIRE_MAX];
    size_t at = 0, left = len - fx.apex.len;
    while (left > 0) {
        size_t label = left > 64 ? 63 : left - 1;
        if (left - 1 - label == 1) /* no room for a label of one byte after it */
            label--;
        wire[at] = (uint8_t)label;
        memset(wire + at + 1, fill, label);
        wire[at + label] = last;
        at += 1 + label;
        left -= 1 + label;
    }
    memcpy(wire + at, fx.apex.wire, fx.apex.len);
    assert_int_equal(name_read(out, (struct span){ wire, len }), ERR_OK);
}

/* The next name comes after the owner, and is as near as the length of names lets it be. */
static void next_names(void **state)
{
    static const struct {
        const char *why;
        size_t len;
        uint8_t fill, last;
        bool is_child; /* \000 in front */
    } CASES[] = {
        { "a short name", 40, 'a', 'a', true },
        { "the longest that has room in front", 253, 'a', 'a', true },
        { "one too long", 254, 'a', 'a', false },
        { "the longest there is", 255, 'a', 'a', false },
        { "whose last byte cannot grow", 255, 'a', 0xff, false },
        { "whose last byte would be a capital letter", 255, 'a', '@', false },
        { "NULs", 255, 0, 0, false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct name owner;
        make_owner(&owner, CASES[i].len, CASES[i].fill, CASES[i].last);
        write_at(&owner, &(struct denial){ .missing = true });
        struct span next = { fx.data, fx.next_len }, own = { owner.wire, owner.len };
        bool is_child = next.len == own.len + 2 && next.p[0] == 1 && next.p[1] == 0;
        if (compare(own, next) >= 0 || is_child != CASES[i].is_child)
            fail_msg("%s", CASES[i].why);
    }
}

/* Where no label can grow, the chain ends at the apex. */
static void the_last_name_of_all(void **state)
{
    (void)state;
    struct name owner;
    make_owner(&owner, 255, 0xff, 0xff);
    write_at(&owner, &(struct denial){ .missing = true });
    assert_int_equal(fx.next_len, fx.apex.len);
    assert_memory_equal(fx.data, fx.apex.wire, fx.apex.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),
        cmocka_unit_test(very_many_types),
        cmocka_unit_test(next_names),
        cmocka_unit_test(the_last_name_of_all),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
