#include "common/base/jsondepth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/attr.h"

static const struct {
    const char *why, *text;
    unsigned depth;
} CASES[] = {
    { "nothing", "", 0 },
    { "no brackets", "17", 0 },
    { "one object", "{\"a\": 1}", 1 },
    { "side by side", "[{}, {}, []]", 2 },
    { "mixed", "{\"a\": [{\"b\": []}]}", 4 },
    { "brackets in a string", "[\"[[[[\"]", 1 },
    { "an escaped quote does not end it", "[\"\\\"[[[\"]", 1 },
    { "an escaped backslash does not hide the quote", "[\"\\\\\", [[]]]", 3 },
    { "more closed than opened", "]]][", 1 },
    { "ends within an escape", "[\"\\", 1 },
};

static void depth_is_counted(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct span text = span_str(CASES[i].text);
        if (!jsondepth_is_within(text, CASES[i].depth) ||
            (CASES[i].depth > 0 && jsondepth_is_within(text, CASES[i].depth - 1)))
            fail_msg("%s: not %u deep", CASES[i].why, CASES[i].depth);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(depth_is_counted) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
