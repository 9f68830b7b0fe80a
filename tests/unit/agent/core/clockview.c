/* What is said of the clock, from what is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/clockview.h"
#include "common/base/attr.h"

#define NOW INT64_C(1800000000) /* 2027-01-15 */
#define BUILT (NOW - 100 * DAY)
#define DAY INT64_C(86400)
#define YEAR (365 * DAY)

static const struct {
    const char *why;
    struct clockview_facts facts;
    enum clockview want;
    const char *word;
} CASES[] = {
    { "as the service's", { .now_s = NOW, .service_s = NOW + 60 }, CLOCKVIEW_RIGHT, "agrees" },
    { "minutes behind it",
      { .now_s = NOW, .service_s = NOW + 61 },
      CLOCKVIEW_DOUBTFUL,
      "61 s behind" },
    { "hours ahead of it",
      { .now_s = NOW, .service_s = NOW - 3601 },
      CLOCKVIEW_WRONG,
      "3601 s ahead of" },
    { "years", { .now_s = NOW, .service_s = NOW - YEAR }, CLOCKVIEW_WRONG, "365 days ahead of" },
    { "the service's word counts, not our build's",
      { .now_s = NOW, .service_s = NOW, .built_s = NOW + YEAR },
      CLOCKVIEW_RIGHT,
      "agrees" },
    { "1970, and the service's certificate is seen",
      { .now_s = 12, .service_from_s = NOW - DAY, .service_to_s = NOW + DAY, .built_s = BUILT },
      CLOCKVIEW_WRONG,
      "says 1970-01-01T00:00:12Z, but the service's certificate begins at 2027-01-14" },
    { "ten years ahead, and it is seen",
      { .now_s = NOW + 10 * YEAR, .service_from_s = NOW - DAY, .service_to_s = NOW + DAY },
      CLOCKVIEW_WRONG,
      "says 2037-01-12T08:00:00Z, but the service's certificate ended at 2027-01-16" },
    { "within it, so that it says nothing",
      { .now_s = NOW, .service_from_s = NOW - DAY, .service_to_s = NOW + DAY, .built_s = BUILT },
      CLOCKVIEW_RIGHT,
      "could not be asked" },
    { "1970, nobody there", { .now_s = 12, .built_s = BUILT }, CLOCKVIEW_WRONG, "says 1970-01-01" },
    { "before the build",
      { .now_s = BUILT - 2 * DAY, .built_s = BUILT },
      CLOCKVIEW_WRONG,
      "was made" },
    { "as late as the build's own day",
      { .now_s = BUILT - 1, .built_s = BUILT },
      CLOCKVIEW_RIGHT,
      "says" },
    { "no build date", { .now_s = 1767225599 }, CLOCKVIEW_WRONG, "2026-01-01T00:00:00Z" },
    { "before our certificate",
      { .now_s = NOW, .built_s = BUILT, .cert_from_s = NOW + 1, .cert_to_s = NOW + 90 * DAY },
      CLOCKVIEW_WRONG,
      "certificate begins" },
    { "before the last state",
      { .now_s = NOW, .built_s = BUILT, .noted_s = NOW + 3601 },
      CLOCKVIEW_DOUBTFUL,
      "written its state at" },
    { "an hour back is summer time, or a step of NTP",
      { .now_s = NOW, .built_s = BUILT, .noted_s = NOW + 3600 },
      CLOCKVIEW_RIGHT,
      "says" },
    { "after our certificate",
      { .now_s = NOW, .built_s = BUILT, .cert_from_s = NOW - 90 * DAY, .cert_to_s = NOW },
      CLOCKVIEW_DOUBTFUL,
      "certificate ended" },
    { "years after anything",
      { .now_s = NOW + 10 * YEAR,
        .built_s = BUILT,
        .cert_from_s = NOW - DAY,
        .cert_to_s = NOW + 89 * DAY,
        .noted_s = NOW },
      CLOCKVIEW_DOUBTFUL,
      "2027-01-15T08:00:00Z" },
    { "a device that was off for a while",
      { .now_s = NOW + 200 * DAY, .built_s = BUILT, .noted_s = NOW },
      CLOCKVIEW_RIGHT,
      "could not be asked" },
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[CLOCKVIEW_TEXT_MAX] = "";
        enum clockview got = clockview_judge(&CASES[i].facts, text);
        if (got != CASES[i].want || strstr(text, CASES[i].word) == NULL)
            fail_msg("%s: %d, %s", CASES[i].why, (int)got, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
