#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* What the table of test_httpd.py does not see from outside: limits, reuse, where a request ends.
 */
#include <stdio.h>
#include <string.h>

#include "common/net/httpmsg.h"

#define GET "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST "POST /a HTTP/1.1\r\nHost: x\r\n"

static struct httpmsg *msg;

static int set_up(void **state)
{
    (void)state;
    return httpmsg_new(&msg, 200, 8) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    httpmsg_free(msg);
    return 0;
}

static void test_limits_are_exact(void **state)
{
    static const struct {
        const char *why;
        unsigned pad; /* bytes of a header value */
        const char *request;
        int want;
    } CASES[] = {
        { "head as large as it may be", 200 - 32, "", 0 },
        { "one byte more", 200 - 31, "", 431 },
        { "body as large as it may be", 0, POST "Content-Length: 8\r\n\r\n12345678", 0 },
        { "one byte more", 0, POST "Content-Length: 9\r\n\r\n", 413 },
        { "chunks as large", 0,
          POST "Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n4\r\n5678\r\n0\r\n\r\n", 0 },
        { "one byte more in chunks", 0, POST "Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n5\r\n",
          413 },
        { "zeros without end before a chunk size", 0, NULL, 413 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[2000];
        size_t used, n;
        httpmsg_reset(msg);
        if (CASES[i].pad > 0)
            n = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: x\r\nX: %0*d\r\n\r\n",
                                 (int)CASES[i].pad, 0);
        else
            n = (size_t)snprintf(text, sizeof text, "%s",
                                 CASES[i].request != NULL ? CASES[i].request
                                                          : POST
                                     "Transfer-Encoding: chunked\r\n\r\n");
        if (CASES[i].request == NULL) {
            memset(text + n, '0', sizeof text - n);
            n = sizeof text;
        }
        enum httpmsg_state s = httpmsg_feed(msg, (struct span){ (const uint8_t *)text, n }, &used);
        int got = s == HTTPMSG_REFUSED ? httpmsg_status(msg) : s == HTTPMSG_DONE ? 0 : -1;
        if (got != CASES[i].want)
            fail_msg("%s: %d, not %d", CASES[i].why, got, CASES[i].want);
    }
}

static void test_stops_at_the_end(void **state)
{
    static const char *const CASES[] = {
        GET,
        POST "Content-Length: 3\r\n\r\nabc",
        POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[500];
        size_t used;
        (void)snprintf(text, sizeof text, "%sGET /next", CASES[i]);
        httpmsg_reset(msg);
        assert_false(httpmsg_is_started(msg));
        assert_int_equal(httpmsg_feed(msg, span_str(text), &used), HTTPMSG_DONE);
        assert_int_equal(used, strlen(CASES[i]));
        assert_int_equal(httpmsg_feed(msg, span_str("more"), &used), HTTPMSG_DONE);
        assert_int_equal(used, 0);
        assert_string_equal(httpmsg_path(msg), "/a");
    }
}

static void test_facts(void **state)
{
    size_t used;
    (void)state;
    assert_int_equal(httpmsg_feed(msg,
                                  span_str("GET /a?b=c HTTP/1.1\r\nHost: x\r\nA-B: \t v w \t\r\n"
                                           "Empty:\r\nConnection: close\r\n\r\n"),
                                  &used),
                     HTTPMSG_DONE);
    assert_string_equal(httpmsg_method(msg), "GET");
    assert_string_equal(httpmsg_query(msg), "b=c");
    assert_string_equal(httpmsg_header(msg, "a-b"), "v w");
    assert_string_equal(httpmsg_header(msg, "empty"), "");
    assert_null(httpmsg_header(msg, "absent"));
    assert_false(httpmsg_is_keep_alive(msg));
}

static void test_continue(void **state)
{
    size_t used;
    (void)state;
    assert_int_equal(
        httpmsg_feed(msg, span_str(POST "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n"),
                     &used),
        HTTPMSG_MORE);
    assert_true(httpmsg_wants_continue(msg));
    assert_int_equal(httpmsg_feed(msg, span_str("a"), &used), HTTPMSG_MORE);
    assert_false(httpmsg_wants_continue(msg));
    httpmsg_reset(msg);
    assert_int_equal(httpmsg_feed(msg,
                                  span_str("POST / HTTP/1.0\r\nExpect: 100-continue\r\n"
                                           "Content-Length: 2\r\n\r\n"),
                                  &used),
                     HTTPMSG_MORE);
    assert_false(httpmsg_wants_continue(msg)); /* HTTP/1.0 does not know it */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = { T(test_limits_are_exact), T(test_stops_at_the_end),
                                        T(test_facts), T(test_continue) };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
