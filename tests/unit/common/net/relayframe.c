#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/relayframe.h"

static struct addr address(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(&a, text, NULL), ERR_OK);
    return a;
}

static void a_dial_comes_back_as_it_was(void **state)
{
    static const char *const PAIRS[][2] = { { "192.0.2.1:4711", "192.88.99.1:443" },
                                            { "[2001:db8::1]:1", "[2001:db8::2]:65535" } };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(PAIRS); i++) {
        uint8_t wire[RELAYFRAME_MAX];
        char text[ADDR_TEXT_MAX];
        struct relayframe f;
        struct relayframe_dial out, in = { .key = { 0x01020304, "0123456789abcde" },
                                           address(PAIRS[i][0]),
                                           address(PAIRS[i][1]) };
        struct span s = { wire, relayframe_write_dial(wire, &in) };
        assert_int_equal(relayframe_take(&f, &s), ERR_OK);
        assert_int_equal(f.kind, RELAYFRAME_DIAL);
        assert_int_equal(s.len, 0);
        assert_int_equal(relayframe_read_dial(&out, f.body), ERR_OK);
        assert_int_equal(out.key.slot, 0x01020304);
        assert_memory_equal(out.key.secret, in.key.secret, RELAYFRAME_SECRET_LEN);
        addr_format(&out.client, text);
        assert_string_equal(text, PAIRS[i][0]);
        addr_format(&out.relay, text);
        assert_string_equal(text, PAIRS[i][1]);
        for (size_t n = 0; n < f.body.len; n++)
            assert_int_equal(relayframe_read_dial(&out, (struct span){ f.body.p, n }), ERR_INVALID);
    }
}

static void frames_come_one_by_one(void **state)
{
    uint8_t wire[3 * RELAYFRAME_MAX];
    struct relayframe f;
    uint16_t keepalive_s = 0;
    uint32_t slot = 0;
    uint8_t reason = 0;
    (void)state;
    size_t n = relayframe_write_welcome(wire, 240);
    n += relayframe_write_decline(wire + n, 77);
    n += relayframe_write_goodbye(wire + n, RELAYFRAME_STOPPING);
    struct span s = { wire, n };
    assert_int_equal(relayframe_take(&f, &s), ERR_OK);
    assert_int_equal(relayframe_read_welcome(&keepalive_s, f.body), ERR_OK);
    assert_int_equal(keepalive_s, 240);
    assert_int_equal(relayframe_take(&f, &s), ERR_OK);
    assert_int_equal(relayframe_read_decline(&slot, f.body), ERR_OK);
    assert_int_equal(slot, 77);
    assert_int_equal(relayframe_take(&f, &s), ERR_OK);
    assert_int_equal(relayframe_read_goodbye(&reason, f.body), ERR_OK);
    assert_int_equal(reason, RELAYFRAME_STOPPING);
    assert_int_equal(relayframe_take(&f, &s), ERR_AGAIN);
    for (size_t k = 0; k < RELAYFRAME_HEAD_LEN + 2; k++) {
        struct span part = { wire, k };
        assert_int_equal(relayframe_take(&f, &part), ERR_AGAIN);
    }
    static const uint8_t LONG[] = { 1, 2, 1 }; /* 513 bytes */
    s = (struct span){ LONG, sizeof LONG };
    assert_int_equal(relayframe_take(&f, &s), ERR_LIMIT);
}

static void the_start_of_a_data_connection(void **state)
{
    uint8_t wire[RELAYFRAME_DATA_LEN];
    struct relayframe_key in = { 0xfffefdfc, "fedcba987654321" }, out;
    (void)state;
    relayframe_write_data(wire, &in);
    assert_int_equal(relayframe_read_data(&out, wire), ERR_OK);
    assert_int_equal(out.slot, in.slot);
    assert_memory_equal(out.secret, in.secret, RELAYFRAME_SECRET_LEN);
    wire[3]++;
    assert_int_equal(relayframe_read_data(&out, wire), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dial_comes_back_as_it_was),
        cmocka_unit_test(frames_come_one_by_one),
        cmocka_unit_test(the_start_of_a_data_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
