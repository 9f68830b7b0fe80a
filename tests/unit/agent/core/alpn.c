#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "agent/core/alpn.h"

#define NAME_30 "abcdefghijklmnopqrstuvwxyz1234"

static void test_lists(void **state)
{
    static const struct {
        const char *why, *names[4];
        enum err last; /* of the last name */
        uint8_t len;
        const char *list;
    } CASES[] = {
        { "what a proxy is for", { "http/1.1" }, ERR_OK, 9, "\x08http/1.1" },
        { "in order", { "h2", "http/1.1" }, ERR_OK, 12, "\x02h2\x08http/1.1" },
        { "no name", { "h2", "" }, ERR_INVALID, 3, "\x02h2" },
        { "to the last byte",
          { NAME_30, NAME_30, "b" },
          ERR_OK,
          64,
          "\x1e" NAME_30 "\x1e" NAME_30 "\x01"
          "b" },
        { "one too long",
          { NAME_30, NAME_30, "bc" },
          ERR_LIMIT,
          62,
          "\x1e" NAME_30 "\x1e" NAME_30 },
        { "no room at all",
          { NAME_30, NAME_30, "b", "c" },
          ERR_LIMIT,
          64,
          "\x1e" NAME_30 "\x1e" NAME_30 "\x01"
          "b" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct alpn a = { 0 };
        enum err e = ERR_OK;
        for (size_t k = 0; k < 4 && CASES[i].names[k] != NULL; k++)
            e = alpn_add(&a, CASES[i].names[k]);
        if (e != CASES[i].last || a.len != CASES[i].len ||
            memcmp(a.list, CASES[i].list, a.len) != 0)
            fail_msg("%s: %s, %u bytes", CASES[i].why, err_name(e), a.len);
    }
    assert_int_equal(ALPN_HTTP1.len, 9);
    assert_memory_equal(ALPN_HTTP1.list, "\x08http/1.1", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_lists) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
