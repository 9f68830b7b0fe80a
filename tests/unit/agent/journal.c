/* What is remembered, and what becomes of a journal that is damaged or from tomorrow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "agent/journal.h"
#include "common/base/attr.h"
#include "tests/lib/treedir.h"

static int set_up(void **state)
{
    static struct treedir dir;
    treedir_make(&dir);
    *state = &dir;
    return 0;
}

static int tear_down(void **state)
{
    treedir_remove(*state);
    return 0;
}

static void test_round_trip(void **state)
{
    struct treedir *d = *state;
    struct err_info info;
    struct journal out, in = {
        .zone = "direct.example",
        .server = "https://[::1]:8443",
        .state = LIFECYCLE_POLL,
        .attempts = 3,
        .starts = 2,
        .retry_at = 1800000000,
        .renew_generation = 12,
        .renew_at = INT64_C(5000000000),
        .error = "the service says \"no\"",
        .error_at = 1790000000,
        .hook = { .generation = 12,
                  .at = 1,
                  .timed_out = true,
                  .exit_status = 143,
                  .output = "a\nb\t\"c\"" },
    };
    assert_int_equal(journal_load(&out, d->path, &info), ERR_OK);
    assert_int_equal(out.state, LIFECYCLE_ILLEGAL); /* nothing there yet */
    assert_int_equal(journal_save(&in, d->path, &info), ERR_OK);
    assert_int_equal(journal_load(&out, d->path, &info), ERR_OK);
    assert_string_equal(out.zone, in.zone);
    assert_string_equal(out.server, in.server);
    assert_int_equal(out.state, in.state);
    assert_int_equal(out.attempts, in.attempts);
    assert_int_equal(out.starts, in.starts);
    assert_int_equal(out.retry_at, in.retry_at);
    assert_int_equal(out.renew_generation, in.renew_generation);
    assert_int_equal(out.renew_at, in.renew_at);
    assert_string_equal(out.error, in.error);
    assert_int_equal(out.error_at, in.error_at);
    assert_int_equal(out.hook.generation, 12);
    assert_true(out.hook.timed_out);
    assert_int_equal(out.hook.exit_status, 143);
    assert_string_equal(out.hook.output, in.hook.output);
    struct stat st;
    assert_int_equal(stat(treedir_path(d, "state.json"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_hook_output_that_is_no_text(void **state)
{
    struct treedir *d = *state;
    struct err_info info;
    struct journal j = { .state = LIFECYCLE_SERVE, .hook = { .output = "a\xff\xfe z" } };
    assert_int_equal(journal_save(&j, d->path, &info), ERR_OK);
    assert_int_equal(journal_load(&j, d->path, &info), ERR_OK);
    assert_string_equal(j.hook.output, "a?? z");
}

static void test_damage(void **state)
{
    struct treedir *d = *state;
    static const struct {
        const char *why, *text;
        enum err want;
        enum lifecycle_state state;
    } CASES[] = {
        { "empty", "", ERR_OK, LIFECYCLE_ILLEGAL },
        { "cut", "{\"version\": 1, \"state\": \"ser", ERR_OK, LIFECYCLE_ILLEGAL },
        { "not an object", "[1]", ERR_OK, LIFECYCLE_ILLEGAL },
        { "no version", "{\"state\": \"serve\"}", ERR_OK, LIFECYCLE_ILLEGAL },
        { "unknown state", "{\"version\": 1, \"state\": \"dance\"}", ERR_OK, LIFECYCLE_ILLEGAL },
        { "wrong types", "{\"version\": 1, \"state\": 5, \"attempts\": \"x\", \"hook\": []}",
          ERR_OK, LIFECYCLE_ILLEGAL },
        { "negative times", "{\"version\": 1, \"state\": \"poll\", \"retry_at\": -5}", ERR_OK,
          LIFECYCLE_POLL },
        { "from a newer agent", "{\"version\": 2, \"state\": \"serve\"}", ERR_CONFIG, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct journal j = { 0 };
        struct err_info info = { "" };
        treedir_write(d, "state.json", CASES[i].text, 0600);
        if (journal_load(&j, d->path, &info) != CASES[i].want || j.state != CASES[i].state)
            fail_msg("%s: %s", CASES[i].why, info.text);
        assert_int_equal(j.retry_at, 0);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_round_trip),
        T(test_hook_output_that_is_no_text),
        T(test_damage),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
