#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/siphash.h"

/* The reference vectors: key 00..0f, input 00, 01, 02 ... of the row's length. */
static void test_reference_vectors(void **state)
{
    static const struct {
        size_t len;
        uint8_t want[SIPHASH_LEN];
    } CASES[] = {
        { 0, { 0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72 } },
        { 1, { 0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74 } },
        { 8, { 0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93 } },
        { 15, { 0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1 } },
    };
    uint8_t key[SIPHASH_KEY_LEN], input[16], out[SIPHASH_LEN];
    (void)state;
    for (unsigned i = 0; i < 16; i++)
        key[i] = input[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        uint64_t value = 0;
        siphash_bytes(out, key, input, CASES[i].len);
        assert_memory_equal(out, CASES[i].want, SIPHASH_LEN);
        for (unsigned k = 0; k < SIPHASH_LEN; k++)
            value |= (uint64_t)CASES[i].want[k] << 8 * k;
        assert_true(siphash(key, input, CASES[i].len) == value);
    }
}

static void test_every_bit_of_the_key_matters(void **state)
{
    uint8_t key[SIPHASH_KEY_LEN] = { 0 };
    uint64_t plain = siphash(key, "x", 1);
    (void)state;
    for (unsigned i = 0; i < 8 * SIPHASH_KEY_LEN; i++) {
        key[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_true(siphash(key, "x", 1) != plain);
        key[i / 8] ^= (uint8_t)(1u << i % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_vectors),
        cmocka_unit_test(test_every_bit_of_the_key_matters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
