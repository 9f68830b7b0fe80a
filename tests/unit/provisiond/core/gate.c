#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisiond/core/gate.h"

static void room_is_what_it_bears(void **state)
{
    struct gate g;
    (void)state;
    gate_init(&g, 100);
    assert_int_equal(gate_room(&g, 0), 64);
    for (int i = 0; i < 10; i++)
        gate_begin(&g, 0);
    assert_int_equal(gate_room(&g, 0), 54);
    gate_note(&g, GATE_OK, 0, 0, 0); /* bears one more */
    assert_int_equal(gate_room(&g, 0), 55);
    gate_note(&g, GATE_BUSY, 0, 0, 0);
    assert_int_equal(gate_room(&g, 0), 22);
    for (int i = 0; i < 10; i++)
        gate_end(&g);
    assert_int_equal(gate_room(&g, 0), 32);
}

static void a_silent_ca_gets_one_probe(void **state)
{
    struct gate g;
    (void)state;
    gate_init(&g, 100);
    gate_begin(&g, 0); /* hangs all the while */
    for (int i = 0; i < 5; i++)
        gate_note(&g, GATE_AWAY, 0, 0, 0);
    assert_int_equal(gate_room(&g, 29999), 0);
    assert_int_equal(gate_room(&g, 30000), 1);
    gate_begin(&g, 30000);
    assert_int_equal(gate_room(&g, 30000), 0);
    gate_note(&g, GATE_OK, 30100, 0, 0);
    assert_true(gate_room(&g, 30100) > 1);
}

static void a_probe_with_nothing_to_probe_is_not_looked_for(void **state)
{
    static const struct {
        const char *why;
        int64_t looked_at_ms, want_ms;
    } CASES[] = {
        { "shut: look when the probe is due", 29999, 30000 },
        { "the look had the probe's room and found no order", 30000, INT64_MAX },
        { "as long as no order comes", 900000, INT64_MAX },
    };
    struct gate g;
    (void)state;
    gate_init(&g, 100);
    assert_true(gate_opens_at_ms(&g, 0) == INT64_MAX); /* open */
    for (int i = 0; i < 5; i++)
        gate_note(&g, GATE_AWAY, 0, 0, 0);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if (gate_opens_at_ms(&g, CASES[i].looked_at_ms) != CASES[i].want_ms)
            fail_msg("%s", CASES[i].why);
    }
    gate_begin(&g, 30000); /* the probe: a second one when nothing is heard of it */
    assert_true(gate_opens_at_ms(&g, 30000) > 30000);
    assert_true(gate_opens_at_ms(&g, 30000) < INT64_MAX);
}

static void busy_is_an_answer(void **state)
{
    struct gate g;
    (void)state;
    gate_init(&g, 100);
    for (int i = 0; i < 50; i++)
        gate_note(&g, GATE_BUSY, i * 20000, 0, 0);
    assert_int_equal(gate_room(&g, 0), 1); /* slow, not shut */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_is_what_it_bears),
        cmocka_unit_test(a_silent_ca_gets_one_probe),
        cmocka_unit_test(a_probe_with_nothing_to_probe_is_not_looked_for),
        cmocka_unit_test(busy_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
