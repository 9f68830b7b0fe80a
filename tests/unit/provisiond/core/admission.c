#include "provisiond/core/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/attr.h"

#define NOW 1800000000

static const struct {
    const char *why;
    struct admission_facts facts;
    enum admission want;
} CASES[] = {
    { "nobody knows it", { .listed = true }, ADMISSION_FRESH },
    { "admitted before", { .known = true, .same_zone = true, .listed = true }, ADMISSION_KNOWN },
    { "in another zone", { .known = true, .listed = true }, ADMISSION_OTHER_ZONE },
    { "suspension comes before all",
      { .known = true, .suspended = true, .key_blocked = true },
      ADMISSION_SUSPENDED },
    { "its key is known to others",
      { .key_blocked = true, .listed = true },
      ADMISSION_KEY_BLOCKED },
    { "also once it is admitted",
      { .known = true, .same_zone = true, .key_blocked = true, .listed = true },
      ADMISSION_KEY_BLOCKED },
    { "its key is another's", { .key_reused = true, .listed = true }, ADMISSION_KEY_REUSED },
    { "not on the list", { .listed = false }, ADMISSION_NOT_LISTED },
    { "taken off the list",
      { .known = true, .same_zone = true, .listed = false },
      ADMISSION_NOT_LISTED },
    { "forgotten, nothing lives",
      { .known = true, .forgotten = true, .quarantine_until = NOW, .listed = true },
      ADMISSION_FRESH },
    { "forgotten, a certificate lives",
      { .known = true, .forgotten = true, .quarantine_until = NOW + 1, .listed = true },
      ADMISSION_QUARANTINED },
    { "forgotten elsewhere, nothing lives",
      { .known = true, .forgotten = true, .same_zone = false, .listed = true },
      ADMISSION_FRESH },
};

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        enum admission got = admission_judge(&CASES[i].facts, NOW);
        if (got != CASES[i].want)
            fail_msg("%s: %d", CASES[i].why, (int)got);
    }
}

static void every_refusal_has_an_answer(void **state)
{
    (void)state;
    for (int i = 0; i < ADMISSION_N; i++) {
        const struct admission_answer *a = admission_answer((enum admission)i);
        bool good = i == ADMISSION_FRESH || i == ADMISSION_KNOWN;
        assert_true(a->status >= 200 && a->status < 500);
        assert_true(good == (a->status < 300) && good == (a->type == NULL));
        assert_true(good || strlen(a->detail) > 10);
    }
}

static const struct {
    const char *why;
    uint8_t ip[16];
    size_t len;
    size_t home, wide;
} PREFIXES[] = {
    { "IPv4: the address, the /24", { 192, 0, 2, 7 }, 4, 4, 3 },
    { "IPv6: the /56, the /48", { 0x20, 1, 0xd, 0xb8, 1, 2, 3, 4 }, 16, 7, 6 },
    { "IPv4 in IPv6 is IPv4", { [10] = 0xff, 0xff, 192, 0, 2, 7 }, 16, 4, 3 },
    { "no address", { 0 }, 0, 0, 0 },
};

static void prefixes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(PREFIXES); i++) {
        uint8_t out[8];
        struct span ip = { PREFIXES[i].ip, PREFIXES[i].len };
        if (admission_prefix(ip, ADMISSION_NET_HOME, out) != PREFIXES[i].home ||
            admission_prefix(ip, ADMISSION_NET_WIDE, out) != PREFIXES[i].wide)
            fail_msg("%s", PREFIXES[i].why);
        assert_true(PREFIXES[i].wide != 3 || memcmp(out, (uint8_t[]){ 192, 0, 2 }, 3) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(every_refusal_has_an_answer),
        cmocka_unit_test(prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
