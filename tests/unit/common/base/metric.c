#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/attr.h"
#include "common/base/metric.h"

static void samples(void **state)
{
    static const struct {
        const char *why;
        struct metric_label labels[2];
        size_t n;
        uint64_t value;
        const char *want;
    } CASES[] = {
        { "no label", { { NULL, NULL } }, 0, 7, "m 7\n" },
        { "labels", { { "a", "x" }, { "b", "y z" } }, 2, 0, "m{a=\"x\",b=\"y z\"} 0\n" },
        { "what would end the value", { { "a", "\"\\\n" } }, 1, 1, "m{a=\"\\\"\\\\\\n\"} 1\n" },
        { "the largest", { { NULL, NULL } }, 0, UINT64_MAX, "m 18446744073709551615\n" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct buf b;
        buf_init(&b, 1000);
        metric_put(&b, "m", CASES[i].labels, CASES[i].n, CASES[i].value);
        print_message("%s\n", CASES[i].why);
        assert_string_equal(buf_str(&b), CASES[i].want);
        buf_clear(&b);
    }
}

static void head(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 1000);
    metric_put_head(&b, "m", "counter", "What it counts.");
    assert_string_equal(buf_str(&b), "# HELP m What it counts.\n# TYPE m counter\n");
    buf_clear(&b);
}

static void durations_fall_into_their_bucket(void **state)
{
    static const struct {
        int64_t us;
        unsigned bucket;
    } CASES[] = {
        { -5, 0 }, { 0, 0 }, { 1, 0 },        { 2, 1 },        { 3, 2 },
        { 4, 2 },  { 5, 3 }, { 1 << 20, 20 }, { 1 << 21, 21 }, { INT64_MAX, 21 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct metric_histogram h = { 0 };
        metric_observe(&h, CASES[i].us);
        for (unsigned k = 0; k < METRIC_BUCKETS; k++)
            assert_int_equal(metric_get(&h.bucket[k]), k == CASES[i].bucket);
    }
}

static void a_histogram_is_cumulative(void **state)
{
    struct metric_histogram h = { 0 };
    struct buf b;
    (void)state;
    metric_observe(&h, 1);
    metric_observe(&h, 3);
    metric_observe(&h, 1500000);
    buf_init(&b, 10000);
    metric_put_histogram(&b, "m", NULL, 0, &h, METRIC_US);
    assert_non_null(strstr(buf_str(&b), "m_bucket{le=\"0.000001\"} 1\n"));
    assert_non_null(strstr(buf_str(&b), "m_bucket{le=\"0.000004\"} 2\n"));
    assert_non_null(strstr(buf_str(&b), "m_bucket{le=\"1.048576\"} 2\n"));
    assert_non_null(strstr(buf_str(&b), "m_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(buf_str(&b), "m_sum 1.500004\nm_count 3\n"));
    buf_clear(&b);
}

static void a_histogram_in_other_units(void **state)
{
    static const struct {
        const char *why;
        enum metric_unit unit;
        const char *bucket, *sum;
    } CASES[] = {
        { "microseconds", METRIC_US, "m_bucket{l=\"v\",le=\"0.002048\"} 1\n",
          "m_sum{l=\"v\"} 0.001500\n" },
        { "milliseconds", METRIC_MS, "m_bucket{l=\"v\",le=\"2.048\"} 1\n",
          "m_sum{l=\"v\"} 1.500\n" },
        { "a number", METRIC_ONES, "m_bucket{l=\"v\",le=\"2048\"} 1\n", "m_sum{l=\"v\"} 1500\n" },
    };
    struct metric_histogram h = { 0 };
    const struct metric_label label = { "l", "v" };
    (void)state;
    metric_observe(&h, 1500);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct buf b;
        print_message("%s\n", CASES[i].why);
        buf_init(&b, 10000);
        metric_put_histogram(&b, "m", &label, 1, &h, CASES[i].unit);
        assert_non_null(strstr(buf_str(&b), CASES[i].bucket));
        assert_non_null(strstr(buf_str(&b), CASES[i].sum));
        assert_non_null(strstr(buf_str(&b), "m_count{l=\"v\"} 1\n"));
        buf_clear(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples),
        cmocka_unit_test(head),
        cmocka_unit_test(durations_fall_into_their_bucket),
        cmocka_unit_test(a_histogram_is_cumulative),
        cmocka_unit_test(a_histogram_in_other_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
