#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisiond/core/gcra.h"

static void burst_then_rate(void **state)
{
    const struct gcra_rate rate = { 1000, 3 };
    int64_t tat = 0, now = 50000;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(gcra_take(&tat, &rate, now), 0);
    assert_int_equal(gcra_take(&tat, &rate, now), 1000);
    assert_int_equal(gcra_take(&tat, &rate, now + 999), 1);
    assert_int_equal(gcra_take(&tat, &rate, now + 1000), 0);
    assert_true(gcra_take(&tat, &rate, now + 1000) > 0);
    /* a long rest gives the burst back, and no more than that */
    now += 1000000;
    for (int i = 0; i < 3; i++)
        assert_int_equal(gcra_take(&tat, &rate, now), 0);
    assert_true(gcra_take(&tat, &rate, now) > 0);
}

static void long_run_never_exceeds_the_rate(void **state)
{
    const struct gcra_rate rate = { 10, 5 };
    int64_t tat = 0, taken = 0;
    (void)state;
    for (int64_t now = 0; now < 100000; now++)
        taken += gcra_take(&tat, &rate, now) == 0;
    assert_in_range(taken, 10000, 10005);
}

static void keys_have_buckets_of_their_own(void **state)
{
    const struct gcra_rate rate = { 1000, 1 };
    struct gcra_table *t = NULL;
    (void)state;
    assert_int_equal(gcra_table_new(&t, 1024, rate), ERR_OK);
    assert_int_equal(gcra_table_take(t, span_str("a"), 10000), 0);
    assert_true(gcra_table_take(t, span_str("a"), 10000) > 0);
    /* of a few keys at least one falls into another slot, whatever the seed */
    unsigned free_buckets = 0;
    for (char k[2] = "b"; k[0] < 'j'; k[0]++)
        free_buckets += gcra_table_take(t, span_str(k), 10000) == 0;
    assert_true(free_buckets >= 6);
    gcra_table_free(t);
}

static void refuses_nonsense(void **state)
{
    struct gcra_table *t = NULL;
    (void)state;
    assert_int_equal(gcra_table_new(&t, 0, (struct gcra_rate){ 1, 1 }), ERR_RANGE);
    assert_int_equal(gcra_table_new(&t, 3, (struct gcra_rate){ 1, 1 }), ERR_RANGE);
    assert_int_equal(gcra_table_new(&t, 4, (struct gcra_rate){ 0, 1 }), ERR_RANGE);
    assert_int_equal(gcra_table_new(&t, 4, (struct gcra_rate){ 1, 0 }), ERR_RANGE);
    assert_null(t);
    gcra_table_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(burst_then_rate),
        cmocka_unit_test(long_run_never_exceeds_the_rate),
        cmocka_unit_test(keys_have_buckets_of_their_own),
        cmocka_unit_test(refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
