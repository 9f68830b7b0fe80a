#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "provisiond/relay/clienthello.h"

#define NAME "192-88-99-1.abcdefghijklmnopqrstuvwxyz234567.direct.example"

/* A hello under construction: `hello` is its body without the four bytes of the handshake's head.
 */
struct maker {
    uint8_t hello[20000];
    size_t len;
};

static void add(struct maker *m, const void *p, size_t len)
{
    assert_true(m->len + len <= sizeof m->hello);
    memcpy(m->hello + m->len, p, len);
    m->len += len;
}

static void add_number(struct maker *m, size_t v, size_t n)
{
    while (n-- > 0) {
        uint8_t b = (uint8_t)(v >> 8 * n);
        add(m, &b, 1);
    }
}

static void add_zeros(struct maker *m, size_t n)
{
    static const uint8_t ZEROS[17000];
    add(m, ZEROS, n);
}

/* Up to where the extensions begin: `session_len` bytes of session id. */
static void begin(struct maker *m, size_t session_len)
{
    m->len = 0;
    add(m, "\x03\x03", 2);
    add_zeros(m, 32);
    add_number(m, session_len, 1);
    add_zeros(m, session_len);
    add(m, "\x00\x02\x13\x01\x01\x00", 6);
}

/* Extensions: `before` bytes of others (a key share of ML-KEM has 1,216), then the name. */
static void add_name(struct maker *m, size_t before, const char *name)
{
    size_t n = strlen(name);
    add_number(m, (before > 0 ? 4 + before : 0) + 9 + n, 2);
    if (before > 0) {
        add_number(m, 51, 2);
        add_number(m, before, 2);
        add_zeros(m, before);
    }
    add_number(m, 0, 2);
    add_number(m, n + 5, 2);
    add_number(m, n + 3, 2);
    add_number(m, 0, 1);
    add_number(m, n, 2);
    add(m, name, n);
}

/* The bytes on the wire, in records of at most `record` bytes. The caller frees them. */
static struct span wire(const struct maker *m, size_t record)
{
    size_t all = m->len + 4;
    uint8_t *hs = malloc(all), *out = malloc(all + (all / record + 1) * 5), *p = out;
    hs[0] = 1;
    hs[1] = (uint8_t)(m->len >> 16);
    hs[2] = (uint8_t)(m->len >> 8);
    hs[3] = (uint8_t)m->len;
    memcpy(hs + 4, m->hello, m->len);
    for (size_t at = 0; at < all; at += record) {
        size_t n = all - at < record ? all - at : record;
        const uint8_t head[] = { 22, 3, 1, (uint8_t)(n >> 8), (uint8_t)n };
        memcpy(p, head, sizeof head);
        memcpy(p + sizeof head, hs + at, n);
        p += sizeof head + n;
    }
    free(hs);
    return (struct span){ out, (size_t)(p - out) };
}

static void names_in_records_of_any_size(void **state)
{
    static const struct {
        const char *why;
        size_t session, before, record;
    } CASES[] = {
        { "small, in one record", 0, 0, 16384 },
        { "as browsers send it, with a session id", 32, 100, 16384 },
        { "behind a key share of ML-KEM", 32, 1216, 16384 },
        { "records of one byte", 32, 100, 1 },
        { "records of two bytes", 0, 0, 2 },
        { "records that end within every field", 32, 1216, 7 },
        { "large, in many records", 32, 9000, 1000 },
        { "nearly too large", 32, 16000, 16384 },
    };
    struct maker m;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct clienthello hello;
        begin(&m, CASES[i].session);
        add_name(&m, CASES[i].before, NAME);
        struct span all = wire(&m, CASES[i].record);
        enum clienthello_result r = clienthello_read(&hello, all);
        if (r != CLIENTHELLO_NAME || strcmp(hello.name, NAME) != 0)
            fail_msg("%s: %d", CASES[i].why, (int)r);
        free((void *)(uintptr_t)all.p);
    }
}

/* GREASE [RFC 8701] in every place, and an encrypted hello: what is in that is for the device, and
 * the name outside of it is the one that counts. */
static void what_browsers_put_around_the_name(void **state)
{
    static const char INNER[] = "\x00\x00\x00\x09\x00\x07\x00\x00\x04evil",
                      GREASE[] = "\x1a\x1a\x00\x01";
    struct clienthello hello;
    struct maker m;
    size_t n = strlen(NAME), ech = 200;
    (void)state;
    m.len = 0;
    add(&m, "\x03\x03", 2);
    add_zeros(&m, 32);
    add(&m, "\x00\x00\x04\x0a\x0a\x13\x01\x01\x00", 9);
    add_number(&m, 4 + 4 + ech + 9 + n + 5, 2);
    add(&m, "\x0a\x0a\x00\x00", 4);
    add_number(&m, 0xfe0d, 2);
    add_number(&m, ech, 2);
    add(&m, INNER, sizeof INNER - 1);
    add_zeros(&m, ech - (sizeof INNER - 1));
    add_number(&m, 0, 2);
    add_number(&m, n + 5, 2);
    add_number(&m, n + 3, 2);
    add_number(&m, 0, 1);
    add_number(&m, n, 2);
    add(&m, NAME, n);
    add(&m, GREASE, 4);
    add_zeros(&m, 1);
    for (size_t record = 1; record <= m.len + 4; record++) {
        struct span all = wire(&m, record);
        assert_int_equal(clienthello_read(&hello, all), CLIENTHELLO_NAME);
        assert_string_equal(hello.name, NAME);
        free((void *)(uintptr_t)all.p);
    }
}

/* Whichever way it is cut into segments: each part says that more is needed, and how much. */
static void names_in_segments(void **state)
{
    static const size_t RECORDS[] = { 1, 5, 100, 16384 };
    struct maker m;
    (void)state;
    begin(&m, 32);
    add_name(&m, 300, NAME);
    for (size_t k = 0; k < ARRAY_LEN(RECORDS); k++) {
        struct span all = wire(&m, RECORDS[k]);
        for (size_t n = 0; n < all.len; n++) {
            struct clienthello hello;
            assert_int_equal(clienthello_read(&hello, (struct span){ all.p, n }), CLIENTHELLO_MORE);
            assert_in_range(hello.need, n + 1, all.len);
        }
        free((void *)(uintptr_t)all.p);
    }
}

static void letters_of_either_case(void **state)
{
    struct clienthello hello;
    struct maker m;
    (void)state;
    begin(&m, 0);
    add_name(&m, 0, "WWW.Direct.EXAMPLE");
    struct span all = wire(&m, 16384);
    assert_int_equal(clienthello_read(&hello, all), CLIENTHELLO_NAME);
    assert_string_equal(hello.name, "www.direct.example");
    free((void *)(uintptr_t)all.p);
}

static void hellos_without_a_good_name(void **state)
{
    static const struct {
        const char *why, *name;
        enum clienthello_result want;
    } CASES[] = {
        { "empty", "", CLIENTHELLO_INVALID },
        { "a NUL would end it early", "a\1b", CLIENTHELLO_INVALID },
        { "an empty label", "a..example", CLIENTHELLO_INVALID },
        { "a dot first", ".example", CLIENTHELLO_INVALID },
        { "a final dot [RFC 6066 s3]", "a.example.", CLIENTHELLO_INVALID },
        { "an address in brackets", "[::1]", CLIENTHELLO_INVALID },
        { "a blank", "a b", CLIENTHELLO_INVALID },
        { "one label is for whoever looks it up", "localhost", CLIENTHELLO_NAME },
    };
    struct maker m;
    struct clienthello hello;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        begin(&m, 0);
        add_name(&m, 0, CASES[i].name);
        struct span all = wire(&m, 16384);
        if (clienthello_read(&hello, all) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
        free((void *)(uintptr_t)all.p);
    }
    char large[300];
    memset(large, 'a', sizeof large - 1);
    large[sizeof large - 1] = 0;
    begin(&m, 0);
    add_name(&m, 0, large);
    struct span all = wire(&m, 16384);
    assert_int_equal(clienthello_read(&hello, all), CLIENTHELLO_INVALID);
    free((void *)(uintptr_t)all.p);
    begin(&m, 0); /* no extensions at all */
    all = wire(&m, 16384);
    assert_int_equal(clienthello_read(&hello, all), CLIENTHELLO_NO_NAME);
    free((void *)(uintptr_t)all.p);
    begin(&m, 0);
    add(&m, "\x00\x04\x00\x17\x00\x00", 6);
    all = wire(&m, 16384);
    assert_int_equal(clienthello_read(&hello, all), CLIENTHELLO_NO_NAME);
    free((void *)(uintptr_t)all.p);
}

static void what_is_no_hello(void **state)
{
#define B(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
    static const struct {
        const char *why;
        struct span in;
        enum clienthello_result want;
    } CASES[] = {
        { "HTTP", B("GET / HTTP/1.1\r\n"), CLIENTHELLO_INVALID },
        { "one wrong byte is enough", B("G"), CLIENTHELLO_INVALID },
        { "an alert", B("\x15\x03\x01\x00\x02\x02\x28"), CLIENTHELLO_INVALID },
        { "SSL 2", B("\x80\x2e\x01\x00\x02"), CLIENTHELLO_INVALID },
        { "a version that is none", B("\x16\x02\x00"), CLIENTHELLO_INVALID },
        { "an empty record", B("\x16\x03\x01\x00\x00"), CLIENTHELLO_INVALID },
        { "a record that is too long", B("\x16\x03\x01\x40\x01"), CLIENTHELLO_INVALID },
        { "a server's hello", B("\x16\x03\x01\x00\x04\x02\x00\x00\x00"), CLIENTHELLO_INVALID },
        { "too short a hello", B("\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03"),
          CLIENTHELLO_INVALID },
        { "an alert where the hello goes on",
          B("\x16\x03\x01\x00\x04\x01\x00\x01\x00\x15\x03\x01\x00\x02\x02\x28"),
          CLIENTHELLO_INVALID },
        { "nothing yet", B(""), CLIENTHELLO_MORE },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct clienthello hello;
        if (clienthello_read(&hello, CASES[i].in) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
    }
}

static void a_hello_without_end(void **state)
{
    struct maker m;
    struct clienthello hello;
    (void)state;
    begin(&m, 0);
    add_name(&m, 16900, NAME);
    struct span all = wire(&m, 4000);
    assert_true(all.len > CLIENTHELLO_MAX);
    assert_int_equal(clienthello_read(&hello, (struct span){ all.p, CLIENTHELLO_MAX - 1 }),
                     CLIENTHELLO_MORE);
    assert_int_equal(hello.need, CLIENTHELLO_MAX);
    assert_int_equal(clienthello_read(&hello, (struct span){ all.p, CLIENTHELLO_MAX }),
                     CLIENTHELLO_LIMIT);
    assert_int_equal(clienthello_read(&hello, all), CLIENTHELLO_LIMIT);
    free((void *)(uintptr_t)all.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_in_records_of_any_size),
        cmocka_unit_test(what_browsers_put_around_the_name),
        cmocka_unit_test(names_in_segments),
        cmocka_unit_test(letters_of_either_case),
        cmocka_unit_test(hellos_without_a_good_name),
        cmocka_unit_test(what_is_no_hello),
        cmocka_unit_test(a_hello_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
