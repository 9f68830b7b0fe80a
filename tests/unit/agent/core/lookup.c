/* Questions as bytes, and which bytes are an answer to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "agent/core/lookup.h"
#include "common/dns/wire.h"

#define NAME "10-0-0-5.abc.direct.example"
#define QUESTION 12 /* where the name of the question is */

static struct name zone;

static struct lookup question(uint16_t type)
{
    struct lookup q = { .id = 0xabcd, .type = type, .class = RR_CLASS_IN };
    assert_int_equal(name_parse(&q.name, NAME), ERR_OK);
    assert_int_equal(name_parse(&zone, "direct.example"), ERR_OK);
    return q;
}

/* The head of an answer, with its question. */
static void begin(struct wire_writer *w, const struct lookup *q, unsigned flags, unsigned n_answers,
                  unsigned n_authority, unsigned n_additional)
{
    wire_put16(w, q->id);
    wire_put16(w, DNS_FLAG_QR | flags);
    wire_put16(w, 1);
    wire_put16(w, n_answers);
    wire_put16(w, n_authority);
    wire_put16(w, n_additional);
    wire_put(w, q->name.wire, q->name.len);
    wire_put16(w, q->type);
    wire_put16(w, q->class);
}

static void record(struct wire_writer *w, unsigned pointer, unsigned type, const void *data,
                   size_t len)
{
    wire_put16(w, DNS_POINTER | pointer);
    wire_put16(w, type);
    wire_put16(w, RR_CLASS_IN);
    wire_put32(w, 60);
    wire_put16(w, (unsigned)len);
    wire_put(w, data, len);
}

static enum err read_it(struct lookup_reply *r, const struct lookup *q, const struct wire_writer *w)
{
    assert_false(w->overflow);
    return lookup_read(r, q, &zone, (struct span){ w->p, w->len });
}

static void test_write(void **state)
{
    (void)state;
    uint8_t out[LOOKUP_QUERY_MAX];
    struct lookup q = question(RR_A);
    size_t len = lookup_write(&q, out);
    assert_int_equal(len, 12 + q.name.len + 4 + 11);
    static const uint8_t HEAD[] = { 0xab, 0xcd, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1 }; /* RD, AD */
    assert_memory_equal(out, HEAD, sizeof HEAD);
    static const uint8_t OPT[] = { 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0 }; /* 1232 bytes */
    assert_memory_equal(out + len - sizeof OPT, OPT, sizeof OPT);
    q.unchecked = true;
    assert_int_equal(lookup_write(&q, out), len);
    assert_int_equal(out[3], 0x30);       /* CD as well */
    assert_int_equal(out[len - 4], 0x80); /* DO */
}

static void test_address(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct wire_writer w = { .p = bytes, .cap = sizeof bytes };
    struct lookup q = question(RR_A);
    struct lookup_reply r;
    begin(&w, &q, 0x8180, 2, 0, 0);
    record(&w, QUESTION, RR_A, "\x0a\x00\x00\x05", 4);
    record(&w, QUESTION, RR_CNAME, "\x00", 1);
    assert_int_equal(read_it(&r, &q, &w), ERR_OK);
    assert_int_equal(r.n_answers, 2);
    assert_int_equal(r.n_ips, 1);
    assert_int_equal(r.ips[0].family, 4);
    assert_memory_equal(r.ips[0].bytes, "\x0a\x00\x00\x05", 4);
    assert_int_equal(r.ede, -1);
    assert_false(r.zone_soa);
    assert_false(r.truncated);
}

static void test_denial(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct lookup q = question(RR_A);
    struct lookup_reply r;
    unsigned at_zone = QUESTION + 9 + 4, at_parent = at_zone + 7;
    struct wire_writer w = { .p = bytes, .cap = sizeof bytes };
    begin(&w, &q, DNS_NXDOMAIN, 0, 1, 1);
    record(&w, at_zone, RR_SOA, "\x00\x00", 2);
    wire_put(&w, "\x00\x00\x29\x04\xd0\x01\x00\x00\x00\x00\x06\x00\x0f\x00\x02\x00\x0f", 17);
    assert_int_equal(read_it(&r, &q, &w), ERR_OK);
    assert_true(r.zone_soa);
    assert_int_equal(r.ede, 15);
    assert_int_equal(r.rcode, 16 + DNS_NXDOMAIN); /* the upper bits are in the OPT record */
    /* somebody else's SOA proves nothing */
    w.len = 0;
    begin(&w, &q, 0, 0, 1, 0);
    record(&w, at_parent, RR_SOA, "\x00\x00", 2);
    assert_int_equal(read_it(&r, &q, &w), ERR_OK);
    assert_false(r.zone_soa);
}

static void test_text(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct lookup q = question(RR_TXT);
    struct lookup_reply r;
    struct wire_writer w = { .p = bytes, .cap = sizeof bytes };
    begin(&w, &q, 0, 1, 0, 0);
    record(&w, QUESTION, RR_TXT,
           "\x05"
           "a\x01"
           "b<\xff",
           6);
    assert_int_equal(read_it(&r, &q, &w), ERR_OK);
    assert_string_equal(r.text, "a?b<?");
    w.len = 0;
    begin(&w, &q, 0, 1, 0, 0);
    record(&w, QUESTION, RR_TXT,
           "\x06"
           "short",
           6);
    assert_int_equal(read_it(&r, &q, &w), ERR_OK);
    assert_string_equal(r.text, ""); /* a string longer than its record */
    q = question(RR_NS);
    w.len = 0;
    begin(&w, &q, 0, 1, 0, 0);
    record(&w, QUESTION, RR_NS,
           "\x03"
           "NS1\xc0\x19",
           6);
    assert_int_equal(read_it(&r, &q, &w), ERR_OK);
    assert_string_equal(r.text, "ns1.direct.example");
}

/* A byte of a good answer changed so that it answers something else, or nothing. */
static const struct {
    const char *why;
    size_t at;
    uint8_t byte;
} OTHERS[] = {
    { "another id", 1, 0 },
    { "a question", 2, 0x01 },
    { "another opcode", 2, 0xa8 },
    { "no question", 5, 0 },
    { "more records than bytes", 7, 2 },
    { "another name", 14, '1' },
    { "another type", 12 + 29 + 1, RR_AAAA },
    { "another class", 12 + 29 + 3, RR_CLASS_CH },
    { "a pointer to itself", 12 + 29 + 4 + 1, 12 + 29 + 4 },
    { "a pointer ahead", 12 + 29 + 4 + 1, 0x80 },
    { "data past the end", 12 + 29 + 4 + 11, 5 },
};

static void test_strangers(void **state)
{
    (void)state;
    struct lookup q = question(RR_A);
    assert_int_equal(q.name.len, 29);
    for (size_t i = 0; i < ARRAY_LEN(OTHERS) + 1; i++) {
        uint8_t bytes[512];
        struct lookup_reply r;
        struct wire_writer w = { .p = bytes, .cap = sizeof bytes };
        begin(&w, &q, 0, 1, 0, 0);
        record(&w, QUESTION, RR_A, "\x0a\x00\x00\x05", 4);
        if (i == ARRAY_LEN(OTHERS)) {
            assert_int_equal(read_it(&r, &q, &w), ERR_OK); /* unchanged */
            continue;
        }
        print_message("%s\n", OTHERS[i].why);
        bytes[OTHERS[i].at] = OTHERS[i].byte;
        assert_int_equal(read_it(&r, &q, &w), ERR_INVALID);
    }
}

static void test_truncated(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct lookup q = question(RR_A);
    struct lookup_reply r;
    struct wire_writer w = { .p = bytes, .cap = sizeof bytes };
    begin(&w, &q, DNS_FLAG_TC, 1, 0, 0); /* the record is not there */
    assert_int_equal(read_it(&r, &q, &w), ERR_OK);
    assert_true(r.truncated);
    w.len -= 5;
    assert_int_equal(read_it(&r, &q, &w), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),     cmocka_unit_test(test_address),
        cmocka_unit_test(test_denial),    cmocka_unit_test(test_text),
        cmocka_unit_test(test_strangers), cmocka_unit_test(test_truncated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
