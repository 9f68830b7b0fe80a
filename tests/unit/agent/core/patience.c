/* When the application is looked at again, over several rounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/core/patience.h"
#include "common/base/attr.h"

#define S INT64_C(1000)
#define EVERY PATIENCE_EVERY_MS

static const struct {
    const char *why;
    bool good, lasts;
    int64_t wait_ms;
} LOOKS[] = {
    /* one after the other */
    { "as it should be", true, true, EVERY },
    { "a reload takes its time", false, false, 2 * S },
    { "and more", false, false, 3 * S },
    { "and is done", true, true, EVERY },
    { "another one, from the beginning", false, false, 2 * S },
    { "still", false, false, 3 * S },
    { "still", false, false, 5 * S },
    { "still", false, false, 10 * S },
    { "the fifth time: that lasts", false, true, EVERY },
    { "six hours later there is as much patience", false, false, 2 * S },
    { "still", false, false, 3 * S },
    { "still", false, false, 5 * S },
    { "still", false, false, 10 * S },
    { "and that lasts, too", false, true, EVERY },
    { "mended", true, true, EVERY },
};

static void test_rounds(void **state)
{
    struct patience p = { 0 };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(LOOKS); i++) {
        int64_t wait_ms = -1;
        bool lasts = patience_note(&p, LOOKS[i].good, &wait_ms);
        if (lasts != LOOKS[i].lasts || wait_ms != LOOKS[i].wait_ms)
            fail_msg("look %zu, %s: %d, %lld ms", i, LOOKS[i].why, lasts, (long long)wait_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
