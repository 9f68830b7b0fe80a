#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "provisiond/core/bucket.h"

#define US 1000000

static void limits_are_read(void **state)
{
    static const struct {
        const char *why, *text;
        enum err want;
        int64_t count, period_s;
    } CASES[] = {
        { "Let's Encrypt's orders", "300/3h", ERR_OK, 300, 10800 },
        { "and domains", "50/7d", ERR_OK, 50, 604800 },
        { "a unit alone is one", "5/h", ERR_OK, 5, 3600 },
        { "seconds", "1000000/1s", ERR_OK, 1000000, 1 },
        { "no limit of our own", "none", ERR_OK, 0, 0 },
        { "the longest period", "1/366d", ERR_OK, 1, 31622400 },
        { "longer", "1/367d", ERR_INVALID, 0, 0 },
        { "overflow", "1/99999999999999999999d", ERR_INVALID, 0, 0 },
        { "none at all is written none", "0/1h", ERR_INVALID, 0, 0 },
        { "no period", "300", ERR_INVALID, 0, 0 },
        { "no unit", "300/3", ERR_INVALID, 0, 0 },
        { "zero period", "300/0h", ERR_INVALID, 0, 0 },
        { "a unit that is none", "300/3w", ERR_INVALID, 0, 0 },
        { "something behind", "300/3h ", ERR_INVALID, 0, 0 },
        { "negative", "-1/3h", ERR_INVALID, 0, 0 },
        { "empty", "", ERR_INVALID, 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct bucket_limit got = { 0, 0 };
        if (bucket_limit_parse(&got, CASES[i].text) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
        if (got.count != CASES[i].count || got.period_s != CASES[i].period_s)
            fail_msg("%s: %lld/%lld", CASES[i].why, (long long)got.count, (long long)got.period_s);
    }
}

/* Spends while it may; counts. */
static int64_t spend_all(int64_t *tat, struct bucket_limit l, int64_t reserve, int64_t now_us)
{
    int64_t n = 0;
    while (bucket_wait_us(*tat, l, reserve, now_us) == 0 && n < 100000) {
        *tat = bucket_spend(*tat, l, now_us);
        n++;
    }
    return n;
}

static void burst_reserve_and_refill(void **state)
{
    const struct bucket_limit orders = { 300, 10800 };
    const int64_t now = (int64_t)1800000000 * US;
    int64_t tat = 0;
    (void)state;
    assert_int_equal(bucket_level(tat, orders, now), 300);
    /* the last tenth is not for batch work, but for people who wait */
    assert_int_equal(spend_all(&tat, orders, bucket_reserve(orders), now), 270);
    assert_int_equal(bucket_level(tat, orders, now), 30);
    assert_int_equal(spend_all(&tat, orders, 0, now), 30);
    assert_int_equal(bucket_level(tat, orders, now), 0);
    assert_int_equal(bucket_wait_us(tat, orders, 0, now), (int64_t)36 * US);
    assert_int_equal(bucket_wait_us(tat, orders, 30, now), (int64_t)31 * 36 * US);
    /* an event taken back is there again */
    tat = bucket_refund(tat, orders);
    assert_int_equal(spend_all(&tat, orders, 0, now), 1);
    assert_int_equal(spend_all(&tat, orders, 0, now + (int64_t)3600 * US), 100);
    assert_int_equal(spend_all(&tat, orders, 0, now + (int64_t)86400 * US), 300);
}

static void small_limits_have_no_reserve(void **state)
{
    const struct bucket_limit set = { 5, 604800 };
    int64_t tat = 0;
    (void)state;
    assert_int_equal(bucket_reserve(set), 0);
    assert_int_equal(spend_all(&tat, set, 0, 1), 5);
    assert_int_equal(bucket_wait_us(tat, set, 0, 1), (int64_t)120960 * US);
}

static void long_run_never_exceeds_the_limit(void **state)
{
    const struct bucket_limit l = { 7, 60 }; /* 60 s / 7 is no whole number: rounded up */
    int64_t tat = 0, n = 0;
    (void)state;
    for (int64_t s = 0; s < 60000; s++)
        n += spend_all(&tat, l, 0, s * US);
    assert_in_range(n, 6990, 7007);
}

static void the_cas_word_counts(void **state)
{
    const struct bucket_limit l = { 300, 10800 }, none = { 0, 0 };
    const int64_t now = (int64_t)1800000000 * US, until = now + (int64_t)600 * US;
    int64_t tat = bucket_park(0, l, until);
    (void)state;
    assert_int_equal(bucket_wait_us(tat, l, 0, now), (int64_t)600 * US);
    /* what the CA then has is one event, not a full bucket that it would refuse again */
    assert_int_equal(spend_all(&tat, l, 0, until), 1);
    assert_int_equal(bucket_wait_us(tat, l, 0, until), (int64_t)36 * US);
    /* an earlier moment does not shorten it */
    tat = bucket_park(0, l, until);
    assert_int_equal(bucket_park(tat, l, now), tat);
    /* without a limit of our own there is only the CA's word */
    tat = bucket_park(0, none, until);
    assert_int_equal(bucket_wait_us(tat, none, 0, now), (int64_t)600 * US);
    assert_int_equal(bucket_wait_us(tat, none, 0, until), 0);
    assert_int_equal(bucket_level(tat, none, now), -1);
}

static void names_and_defaults(void **state)
{
    (void)state;
    for (int k = 0; k < BUCKET_KIND_N; k++)
        assert_string_not_equal(bucket_kind_name((enum bucket_kind)k), "unknown");
    assert_string_equal(bucket_kind_name((enum bucket_kind)99), "unknown");
    assert_int_equal(bucket_limit_default(BUCKET_ORDERS).count, 300);
    assert_int_equal(bucket_limit_default(BUCKET_ALL).count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_are_read),
        cmocka_unit_test(burst_reserve_and_refill),
        cmocka_unit_test(small_limits_have_no_reserve),
        cmocka_unit_test(long_run_never_exceeds_the_limit),
        cmocka_unit_test(the_cas_word_counts),
        cmocka_unit_test(names_and_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
