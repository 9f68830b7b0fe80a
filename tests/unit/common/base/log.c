#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

/* What fn() writes to standard error. */
static void capture(void (*fn)(void), char *out, size_t cap)
{
    int fds[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(fds), 0);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    fn();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(fds[1]);
    ssize_t n = read(fds[0], out, cap - 1);
    out[n > 0 ? n : 0] = 0;
    close(fds[0]);
}

static void two_lines(void)
{
    log_debug("not shown");
    log_info("a\nb\x1b[31m%s", "\x7f");
    log_error("second");
}

static void huge(void)
{
    char text[5000];
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = 0;
    log_error("%s", text);
}

static void test_lines(void **state)
{
    char out[8192];
    (void)state;
    log_init("prog", LOG_LEVEL_INFO);
    capture(two_lines, out, sizeof out);
    /* nothing from outside can start a line or speak to the terminal */
    assert_non_null(strstr(out, " info prog: a\\x0ab\\x1b[31m\\x7f\n"));
    assert_non_null(strstr(out, " error prog: second\n"));
    assert_null(strstr(out, "not shown"));
    assert_int_equal(out[10], 'T');
    capture(huge, out, sizeof out);
    assert_true(strlen(out) <= 4096);                           /* one write to a pipe */
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1); /* one line, whatever is cut */
}

static void names(void)
{
    log_warn("\"a\" \\ \t\x7f \xc3\xa4");
    log_warn("\xff\xc3 \xed\xa0\x80 \xf0\x9f\x98\x80 \xe2\x82");
}

static void test_json(void **state)
{
    char out[16384];
    (void)state;
    log_init("prog", LOG_LEVEL_INFO);
    log_set_format(LOG_FORMAT_JSON);
    capture(names, out, sizeof out);
    assert_memory_equal(out, "{\"time\":\"2", 10);
    assert_non_null(strstr(out, "Z\",\"level\":\"warn\",\"program\":\"prog\",\"text\":"
                                "\"\\\"a\\\" \\\\ \\u0009\\u007f \xc3\xa4\"}\n"));
    /* what is no UTF-8, a surrogate and a character that is cut */
    assert_non_null(strstr(out, ":\"\\ufffd\\ufffd \\ufffd\\ufffd\\ufffd \xf0\x9f\x98\x80 "
                                "\\ufffd\\ufffd\"}\n"));
    capture(huge, out, sizeof out);
    assert_true(strlen(out) <= 4096); /* one write to a pipe */
    assert_string_equal(out + strlen(out) - 9, "\\u000a\"}\n");
    log_set_format(LOG_FORMAT_TEXT);
}

static void test_format_parse(void **state)
{
    enum log_format format = LOG_FORMAT_TEXT;
    (void)state;
    assert_true(log_format_parse("json", &format));
    assert_int_equal(format, LOG_FORMAT_JSON);
    assert_false(log_format_parse("JSON", &format));
    assert_int_equal(format, LOG_FORMAT_JSON);
    assert_true(log_format_parse("text", &format));
    assert_int_equal(format, LOG_FORMAT_TEXT);
}

static void test_level_parse(void **state)
{
    enum log_level level = LOG_LEVEL_INFO;
    (void)state;
    assert_true(log_level_parse("warn", &level));
    assert_int_equal(level, LOG_LEVEL_WARN);
    assert_false(log_level_parse("WARN", &level));
    assert_false(log_level_parse("", &level));
    assert_int_equal(level, LOG_LEVEL_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_lines), cmocka_unit_test(test_json),
                                        cmocka_unit_test(test_format_parse),
                                        cmocka_unit_test(test_level_parse) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
