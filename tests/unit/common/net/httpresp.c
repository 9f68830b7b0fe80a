#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/net/httpresp.h"

#define DATE "Date: Sat, 21 Nov 2026 03:43:50 GMT\r\n"

static void test_write(void **state)
{
    static const struct {
        const char *why;
        struct httpresp r;
        const char *body, *want;
    } CASES[] = {
        { "plain",
          { .status = 200, .content_type = "a/b", .keep_alive = true },
          "hi",
          "HTTP/1.1 200 OK\r\n" DATE "Content-Type: a/b\r\nContent-Length: 2\r\n\r\nhi" },
        { "close",
          { .status = 404 },
          "",
          "HTTP/1.1 404 Not Found\r\n" DATE "Connection: close\r\nContent-Length: 0\r\n\r\n" },
        { "HEAD",
          { .status = 200, .keep_alive = true, .head_only = true },
          "hi",
          "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 2\r\n\r\n" },
        { "204 has no body at all",
          { .status = 204, .content_type = "a/b", .keep_alive = true },
          "hi",
          "HTTP/1.1 204 No Content\r\n" DATE "\r\n" },
        { "an unknown status",
          { .status = 599, .keep_alive = true },
          "",
          "HTTP/1.1 599 Status\r\n" DATE "Content-Length: 0\r\n\r\n" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct buf out;
        struct httpresp r = CASES[i].r;
        buf_init(&out, 1000);
        r.headers = "";
        r.now_s = 1795232630;
        r.body = span_str(CASES[i].body);
        httpresp_write(&out, &r);
        if (strcmp(buf_str(&out), CASES[i].want) != 0)
            fail_msg("%s: %s", CASES[i].why, buf_str(&out));
        buf_clear(&out);
    }
}

static void test_headers(void **state)
{
    static const struct {
        const char *why, *name, *value, *want;
    } CASES[] = {
        { "plain", "A-b", "c d", "A-b: c d\r\n" }, { "a line in the value", "A", "b\r\nC: d", "" },
        { "a newline", "A", "b\n", "" },           { "a line in the name", "A\r\nB", "c", "" },
        { "a colon in the name", "A:", "b", "" },  { "no name", "", "b", "" },
        { "a tab", "A", "b\tc", "A: b\tc\r\n" },   { "an escape", "A", "\x1b[m", "" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct buf out;
        buf_init(&out, 1000);
        httpresp_add_header(&out, CASES[i].name, CASES[i].value);
        if (strcmp(buf_str(&out), CASES[i].want) != 0)
            fail_msg("%s: %s", CASES[i].why, buf_str(&out));
        buf_clear(&out);
    }
}

static void test_problem(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 1000);
    httpresp_problem(&out, 409, "new-key", "a \"b\" \\ \n \x7f");
    assert_string_equal(buf_str(&out), "{\"type\":\"urn:lanyard:problem:new-key\",\"title\":"
                                       "\"Conflict\",\"status\":409,\"detail\":"
                                       "\"a \\\"b\\\" \\\\ \\u000a \\u007f\"}\n");
    buf_reset(&out);
    httpresp_problem(&out, 500, NULL, NULL);
    assert_string_equal(
        buf_str(&out),
        "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500}\n");
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_write),
                                        cmocka_unit_test(test_headers),
                                        cmocka_unit_test(test_problem) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
