#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisiond/relay/slots.h"

static int OWNERS[3];

static void a_secret_is_good_once(void **state)
{
    struct slots *s;
    struct relayframe_key key = { .secret = "0123456789abcde" }, wrong;
    (void)state;
    assert_int_equal(slots_new(&s, 2), ERR_OK);
    assert_int_equal(slots_put(s, &key, &OWNERS[0]), ERR_OK);
    wrong = key;
    wrong.secret[15] ^= 1;
    assert_null(slots_take(s, &wrong));
    wrong = key;
    wrong.slot ^= 1;
    assert_null(slots_take(s, &wrong));
    wrong.slot = 2; /* outside */
    assert_null(slots_take(s, &wrong));
    assert_ptr_equal(slots_owner(s, key.slot), &OWNERS[0]);
    assert_ptr_equal(slots_take(s, &key), &OWNERS[0]);
    assert_null(slots_take(s, &key));
    assert_null(slots_owner(s, key.slot));
    slots_drop(s, key.slot); /* of nobody: nothing */
    slots_free(s);
}

static void a_free_slot_has_no_secret(void **state)
{
    struct slots *s;
    struct relayframe_key zero = { .slot = 0 };
    (void)state;
    assert_int_equal(slots_new(&s, 1), ERR_OK);
    assert_null(slots_take(s, &zero));
    assert_int_equal(slots_put(s, &zero, &OWNERS[0]), ERR_OK);
    slots_drop(s, zero.slot);
    assert_null(slots_take(s, &zero));
    slots_free(s);
}

static void full_and_used_again(void **state)
{
    struct slots *s;
    struct relayframe_key a = { .secret = "a" }, b = { .secret = "b" }, c = { .secret = "c" };
    (void)state;
    assert_int_equal(slots_new(&s, 2), ERR_OK);
    for (int round = 0; round < 5; round++) {
        assert_int_equal(slots_put(s, &a, &OWNERS[0]), ERR_OK);
        assert_int_equal(slots_put(s, &b, &OWNERS[1]), ERR_OK);
        assert_int_equal(slots_put(s, &c, &OWNERS[2]), ERR_LIMIT);
        slots_drop(s, a.slot);
        assert_int_equal(slots_put(s, &c, &OWNERS[2]), ERR_OK);
        assert_null(slots_take(s, &a)); /* late: the slot is another's */
        assert_ptr_equal(slots_take(s, &b), &OWNERS[1]);
        assert_ptr_equal(slots_take(s, &c), &OWNERS[2]);
    }
    slots_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_good_once),
        cmocka_unit_test(a_free_slot_has_no_secret),
        cmocka_unit_test(full_and_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
