#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/core/relaypick.h"

#define N_DEVICES 3000

static struct devid device(unsigned i)
{
    struct devid id;
    (void)snprintf(id.text, sizeof id.text, "device%026u", i);
    return id;
}

static void the_order_of_the_names_does_not_matter(void **state)
{
    static const char *const A[] = { "eu1", "eu2", "us1" }, *const B[] = { "us1", "eu2", "eu1" };
    (void)state;
    for (unsigned i = 0; i < N_DEVICES; i++) {
        struct devid id = device(i);
        assert_string_equal(A[relaypick(A, 3, &id, NULL)], B[relaypick(B, 3, &id, NULL)]);
    }
}

static void one_that_goes_moves_only_its_own(void **state)
{
    static const char *const ALL[] = { "eu1", "eu2", "us1" }, *const LEFT[] = { "eu1", "us1" };
    unsigned before[3] = { 0 }, after[2] = { 0 };
    (void)state;
    for (unsigned i = 0; i < N_DEVICES; i++) {
        struct devid id = device(i);
        size_t was = relaypick(ALL, 3, &id, NULL), is = relaypick(LEFT, 2, &id, NULL);
        before[was]++;
        if (was == 1)
            after[is]++;
        else
            assert_string_equal(ALL[was], LEFT[is]);
    }
    /* evenly, both times: within a fifth */
    for (size_t i = 0; i < 3; i++)
        assert_in_range(before[i], N_DEVICES / 3 * 4 / 5, N_DEVICES / 3 * 6 / 5);
    for (size_t i = 0; i < 2; i++)
        assert_in_range(after[i], before[1] / 2 * 4 / 5, before[1] / 2 * 6 / 5);
}

static void one_that_failed_is_as_one_that_went(void **state)
{
    static const char *const ALL[] = { "eu1", "eu2", "us1" }, *const LEFT[] = { "eu1", "us1" };
    static const struct relaypick_failed NOT_HERE = { 1, { "eu9" } }, ONE = { 1, { "eu2" } },
                                         TWO = { 2, { "us1", "eu2" } },
                                         THREE = { 3, { "us1", "eu1", "eu2" } };
    (void)state;
    for (unsigned i = 0; i < N_DEVICES; i++) {
        struct devid id = device(i);
        size_t first = relaypick(ALL, 3, &id, NULL);
        assert_int_equal(relaypick(ALL, 3, &id, &NOT_HERE), first);
        assert_string_equal(ALL[relaypick(ALL, 3, &id, &ONE)], LEFT[relaypick(LEFT, 2, &id, NULL)]);
        assert_string_equal(ALL[relaypick(ALL, 3, &id, &TWO)], "eu1");
        assert_int_equal(relaypick(ALL, 3, &id, &THREE), first); /* better than none */
        assert_int_equal(relaypick(ALL + 1, 1, &id, &ONE), 0);
    }
}

static void every_build_chooses_the_same(void **state)
{
    static const char *const NAMES[] = { "a", "b", "c", "d" };
    char chosen[9] = "";
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct devid id = device(i);
        chosen[i] = NAMES[relaypick(NAMES, 4, &id, NULL)][0];
    }
    assert_string_equal(chosen, "bdbbddaa");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_the_names_does_not_matter),
        cmocka_unit_test(one_that_goes_moves_only_its_own),
        cmocka_unit_test(one_that_failed_is_as_one_that_went),
        cmocka_unit_test(every_build_chooses_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
