/* The PROXY protocol's header, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/proxyheader.h"
#include "common/base/attr.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static const struct {
    const char *why, *from, *to;
    int from_port, to_port;
    const char *want; /* after the signature */
    size_t want_len;
} CASES[] = {
    { "IPv4", "192.0.2.1", "198.51.100.7", 258, 443,
      "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\7\1\2\1\xbb", 16 },
    { "IPv6", "2001:db8::1", "fd00::2", 1, 65535,
      "\x21\x21\0\x24"
      "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
      "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2"
      "\0\1\xff\xff",
      40 },
    { "mixed families are no connection", "192.0.2.1", "fd00::2", 1, 2, "\x20\0\0\0", 4 },
};

static void fill(struct sockaddr_storage *out, const char *text, int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 b = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
    if (inet_pton(AF_INET, text, &a.sin_addr) == 1) {
        memcpy(out, &a, sizeof a);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &b.sin6_addr), 1);
        memcpy(out, &b, sizeof b);
    }
}

static void test_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct sockaddr_storage from, to;
        uint8_t out[PROXYHEADER_MAX];
        print_message("%s\n", CASES[i].why);
        fill(&from, CASES[i].from, CASES[i].from_port);
        fill(&to, CASES[i].to, CASES[i].to_port);
        size_t len =
            proxyheader_write(out, (const struct sockaddr *)&from, (const struct sockaddr *)&to);
        assert_int_equal(len, 12 + CASES[i].want_len);
        assert_memory_equal(out, SIGNATURE, 12);
        assert_memory_equal(out + 12, CASES[i].want, CASES[i].want_len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_bytes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
