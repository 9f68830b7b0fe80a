#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/core/pairing.h"

static const uint8_t RANDOM[PAIRING_RANDOM_LEN] = { 0x70, 0x88, 0x17, 0xff, 0x00 };

static void a_code_has_one_hash_however_it_is_typed(void **state)
{
    static const char *const TYPED[] = { "OCEB-P7YA", "oceb-p7ya", "OCEBP7YA",       " oceb p7ya ",
                                         "0ceb-p7ya", "OCE8-P7YA", "O-C-E-B-P-7-Y-A" };
    uint8_t want[PAIRING_HASH_LEN], got[PAIRING_HASH_LEN];
    char text[PAIRING_TEXT_LEN + 1];
    (void)state;
    pairing_format(text, RANDOM);
    assert_string_equal(text, "OCEB-P7YA");
    assert_int_equal(pairing_hash(want, span_str(text)), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(TYPED); i++) {
        if (pairing_hash(got, span_str(TYPED[i])) != ERR_OK)
            fail_msg("%s", TYPED[i]);
        assert_memory_equal(got, want, sizeof got);
    }
    assert_int_equal(pairing_hash(got, span_str("IAAA-AAAA")), ERR_OK);
    assert_int_equal(pairing_hash(want, span_str("1AAA-AAAA")), ERR_OK);
    assert_memory_equal(got, want, sizeof got);
    assert_int_equal(pairing_hash(got, span_str("OCEB-P7YB")), ERR_OK);
    assert_memory_not_equal(got, want, sizeof got);
}

static void other_texts_are_no_codes(void **state)
{
    static const struct {
        const char *why, *text;
    } CASES[] = {
        { "empty", "" },
        { "one short", "OCEB-P7Y" },
        { "one long", "OCEB-P7YAA" },
        { "a digit that is no letter's twin", "OCEB-P79A" },
        { "another sign", "OCEB_P7YA" },
        { "a line", "OCEB-P7YA\n" },
        { "beyond ASCII", "OCEB-P7Y\xc3" },
        { "much", "----------------------------------------------------------OCEB-P7YAAAAAAAAAA" },
    };
    uint8_t hash[PAIRING_HASH_LEN];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++)
        if (pairing_hash(hash, span_str(CASES[i].text)) != ERR_INVALID)
            fail_msg("%s", CASES[i].why);
}

/* Of any 24 hours, which two days of the calendar share: below one in a million. */
static void the_budget_keeps_the_promise(void **state)
{
    (void)state;
    assert_true(2.0 * PAIRING_BUDGET / (double)((uint64_t)1 << 40) < 1e-6);
    assert_true(pairing_may_try(0, 0));
    assert_true(pairing_may_try(PAIRING_BUDGET - 1, 1));
    assert_false(pairing_may_try(PAIRING_BUDGET, 1));
    assert_false(pairing_may_try(0, PAIRING_BUDGET + 1));
    /* wrong ones at ten live codes */
    int64_t spent = 0, n = 0;
    for (; pairing_may_try(spent, 10); spent += 10)
        n++;
    assert_int_equal(n, PAIRING_BUDGET / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_code_has_one_hash_however_it_is_typed),
        cmocka_unit_test(other_texts_are_no_codes),
        cmocka_unit_test(the_budget_keeps_the_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
