#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "common/base/err.h"

static void test_every_code_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_N; i++) {
        assert_non_null(err_name((enum err)i));
        assert_true(strlen(err_name((enum err)i)) > 0);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(err_name((enum err)i), err_name((enum err)j));
    }
    assert_string_equal(err_name((enum err)99), "unknown");
}

static void test_set_and_prefix(void **state)
{
    struct err_info info;
    (void)state;
    assert_int_equal(err_set(&info, ERR_IO, "cannot %s", "read"), ERR_IO);
    assert_int_equal(err_prefix(&info, ERR_CONFIG, "%s:%d: ", "f", 3), ERR_CONFIG);
    assert_string_equal(info.text, "f:3: cannot read");
    assert_int_equal(err_set(NULL, ERR_IO, "x"), ERR_IO);
    assert_int_equal(err_prefix(NULL, ERR_IO, "x"), ERR_IO);
}

static void test_long_texts_are_cut(void **state)
{
    struct err_info info;
    char text[2000];
    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    (void)err_set(&info, ERR_IO, "%s", text);
    assert_int_equal(strlen(info.text), sizeof info.text - 1);
    (void)err_prefix(&info, ERR_IO, "b");
    assert_int_equal(strlen(info.text), sizeof info.text - 1);
    assert_int_equal(info.text[0], 'b');
    (void)err_prefix(&info, ERR_IO, "%s", text);
    assert_int_equal(strlen(info.text), sizeof info.text - 1);
}

static void test_errno(void **state)
{
    static const struct {
        const char *why;
        int errnum;
        enum err want;
    } CASES[] = {
        { "absent", ENOENT, ERR_NOTFOUND }, { "there", EEXIST, ERR_EXISTS },
        { "closed", EACCES, ERR_DENIED },   { "not ours", EPERM, ERR_DENIED },
        { "memory", ENOMEM, ERR_NOMEM },    { "full disk", ENOSPC, ERR_IO },
        { "anything else", EBADF, ERR_IO },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        if (err_from_errno(CASES[i].errnum) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_has_a_name),
        cmocka_unit_test(test_set_and_prefix),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
