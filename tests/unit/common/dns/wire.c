#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/dns/wire.h"

#define BYTES(s)                                                                                   \
    {                                                                                              \
        (const uint8_t *)(s), sizeof(s) - 1                                                        \
    }

static void a_failed_read_stays_failed(void **state)
{
    struct wire_reader r = { .msg = BYTES("\1\2\3\4\5\6\7") };
    (void)state;
    assert_int_equal(wire_get16(&r), 0x0102);
    assert_int_equal(wire_get32(&r), 0x03040506);
    assert_false(r.bad);
    assert_int_equal(wire_get16(&r), 0); /* one byte is left, two are asked for */
    assert_true(r.bad);
    assert_null(wire_get(&r, 1)); /* even what is there is not given any more */
    assert_int_equal(r.pos, 6);
}

static void a_failed_write_stays_failed(void **state)
{
    uint8_t out[8];
    struct wire_writer w = { .p = out, .cap = 7 };
    (void)state;
    memset(out, 0xee, sizeof out);
    wire_put16(&w, 0x0102);
    wire_put32(&w, 0x03040506);
    assert_false(w.overflow);
    wire_put16(&w, 0x0708);
    assert_true(w.overflow);
    wire_put(&w, "x", 1); /* would fit */
    assert_int_equal(w.len, 6);
    assert_memory_equal(out, "\1\2\3\4\5\6\xee\xee", 8);
}

static void skipped_names(void **state)
{
    static const struct {
        const char *why;
        struct span msg;
        bool bad;
        size_t pos;
    } CASES[] = {
        { "the root", BYTES("\0x"), false, 1 },
        { "labels", BYTES("\1a\2bc\0x"), false, 6 },
        { "a pointer ends the name", BYTES("\1a\300\0x"), false, 4 },
        { "a pointer to itself is not followed", BYTES("\300\0"), false, 2 },
        { "half a pointer", BYTES("\1a\300"), true, 0 },
        { "label cut short", BYTES("\3ab"), true, 0 },
        { "no end", BYTES("\1a"), true, 0 },
        { "label type 01", BYTES("\100\0"), true, 0 },
        { "label type 10", BYTES("\200\0"), true, 0 },
        { "nothing", BYTES(""), true, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct wire_reader r = { .msg = CASES[i].msg };
        wire_skip_name(&r);
        if (r.bad != CASES[i].bad || (!r.bad && r.pos != CASES[i].pos))
            fail_msg("%s: bad %d, at %zu", CASES[i].why, r.bad, r.pos);
    }
}

static void an_endless_name_is_refused(void **state)
{
    uint8_t msg[600];
    struct wire_reader r = { .msg = { msg, sizeof msg } };
    (void)state;
    memset(msg, 1, sizeof msg);
    wire_skip_name(&r);
    assert_true(r.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_read_stays_failed),
        cmocka_unit_test(a_failed_write_stays_failed),
        cmocka_unit_test(skipped_names),
        cmocka_unit_test(an_endless_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
