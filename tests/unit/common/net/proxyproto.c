#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/proxyproto.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
/* 203.0.113.9:49153 -> 10.0.0.1:8443 */
#define FROM4 "\xcb\0\x71\x09\x0a\0\0\x01\xc0\x01\x20\xfb"
#define ZERO8 "\0\0\0\0\0\0\0\0"
#define FROM6 "\x2a\0\0\0" ZERO8 "\0\0\0\x01" ZERO8 ZERO8 "\xc0\x01\x20\xfb"
#define FROM_MAPPED ZERO8 "\0\0\xff\xff\xcb\0\x71\x09" ZERO8 ZERO8 "\xc0\x01\x20\xfb"

#define ROW(why, bytes, peer)                                                                      \
    {                                                                                              \
        why, bytes, sizeof bytes - 1, peer                                                         \
    }

/* `peer`: as addr_format() writes it, "" for none, NULL for a header that is refused */
static const struct {
    const char *why;
    const char *bytes;
    size_t len;
    const char *peer;
} CASES[] = {
    ROW("TCP over IPv4", SIG "\x21\x11\0\x0c" FROM4, "203.0.113.9:49153"),
    ROW("TCP over IPv6", SIG "\x21\x21\0\x24" FROM6, "[2a00::1]:49153"),
    ROW("mapped is IPv4", SIG "\x21\x21\0\x24" FROM_MAPPED, "203.0.113.9:49153"),
    ROW("with more after it", SIG "\x21\x11\0\x10" FROM4 "\x04\0\x01\0", "203.0.113.9:49153"),
    ROW("its own", SIG "\x20\0\0\0", ""),
    ROW("its own, with addresses", SIG "\x20\x11\0\x0c" FROM4, ""),
    ROW("addresses cut", SIG "\x21\x11\0\x0b\xcb\0\x71\x09\x0a\0\0\x01\xc0\x01\x20", NULL),
    ROW("IPv6 that is IPv4", SIG "\x21\x21\0\x0c" FROM4, NULL),
    ROW("UDP", SIG "\x21\x12\0\x0c" FROM4, NULL),
    ROW("of nobody", SIG "\x21\0\0\0", NULL),
    ROW("a local socket", SIG "\x21\x31\0\x0c" FROM4, NULL),
    ROW("another command", SIG "\x22\x11\0\x0c" FROM4, NULL),
    ROW("another version", SIG "\x11\x11\0\x0c" FROM4, NULL),
    ROW("version 1", "PROXY TCP4 203.0.113.9 10.0.0.1 49153 8443\r\n", NULL),
    ROW("TLS", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0\0\0\0\0\0", NULL),
    ROW("said to be longer", SIG "\x21\x11\0\x0d" FROM4, NULL),
    ROW("said to be shorter", SIG "\x21\x11\0\x0b" FROM4, NULL),
    ROW("too long to be waited for", SIG "\x21\x11\xff\xff" FROM4, NULL),
    ROW("cut in the head", SIG "\x21\x11\0", NULL),
    ROW("nothing", "", NULL),
};

static void headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct proxyproto pp;
        char text[ADDR_TEXT_MAX] = "";
        struct span in = { (const uint8_t *)CASES[i].bytes, CASES[i].len };
        enum err e = proxyproto_parse(&pp, in);
        if ((e == ERR_OK) != (CASES[i].peer != NULL))
            fail_msg("%s", CASES[i].why);
        if (e == ERR_OK && pp.has_peer)
            addr_format(&pp.peer, text);
        if (e == ERR_OK && strcmp(text, CASES[i].peer) != 0)
            fail_msg("%s: %s", CASES[i].why, text);
    }
}

static void the_length_is_known_from_the_head(void **state)
{
    size_t len = 0;
    (void)state;
    struct span in = { (const uint8_t *)SIG "\x21\x11\x07\xf0", PROXYPROTO_HEAD };
    assert_int_equal(proxyproto_length(&len, in), ERR_OK);
    assert_int_equal(len, PROXYPROTO_MAX);
    in.p = (const uint8_t *)SIG "\x21\x11\x07\xf1";
    assert_int_equal(proxyproto_length(&len, in), ERR_INVALID);
    in.len--;
    assert_int_equal(proxyproto_length(&len, in), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),
        cmocka_unit_test(the_length_is_known_from_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
