/* Moduli made with each flaw, and sound ones beside them (case 23). */
#include "provisiond/core/rsakey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const unsigned SMALL[] = { 2,   3,   5,   7,   11,  13,  17,  19,  23,  29,  31, 37, 41,
                                  43,  47,  53,  59,  61,  67,  71,  73,  79,  83,  89, 97, 101,
                                  103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157 };

static BIGNUM *prime(int bits)
{
    BIGNUM *p = BN_new();
    assert_int_equal(BN_generate_prime_ex(p, bits, 0, NULL, NULL, NULL), 1);
    return p;
}

static BIGNUM *product(const BIGNUM *p, const BIGNUM *q)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *n = BN_new();
    assert_int_equal(BN_mul(n, p, q, ctx), 1);
    BN_CTX_free(ctx);
    return n;
}

/* A prime as the library makes them: k*M + (65537^a mod M). */
static BIGNUM *roca_prime(void)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *m = BN_new(), *a = BN_new(), *base = BN_new(), *p = BN_new(), *k = BN_new();
    BN_set_word(m, 1);
    for (size_t i = 0; i < ARRAY_LEN(SMALL); i++)
        BN_mul_word(m, SMALL[i]);
    BN_set_word(base, 65537);
    do {
        BN_rand(a, 60, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY);
        BN_mod_exp(p, base, a, m, ctx);
        BN_rand(k, 512 - BN_num_bits(m), BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY);
        BN_mul(k, k, m, ctx);
        BN_add(p, p, k);
    } while (BN_check_prime(p, ctx, NULL) != 1);
    BN_free(m);
    BN_free(a);
    BN_free(base);
    BN_free(k);
    BN_CTX_free(ctx);
    return p;
}

static void expect(const char *why, BIGNUM *n, enum rsakey_flaw want)
{
    enum rsakey_flaw got = rsakey_check(n);
    if (got != want)
        fail_msg("%s: %d, not %d", why, (int)got, (int)want);
    BN_free(n);
}

static void sound_keys_pass(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        BIGNUM *p = prime(512), *q = prime(512);
        expect("two random primes", product(p, q), RSAKEY_SOUND);
        BN_free(p);
        BN_free(q);
    }
}

static void flawed_keys_are_named(void **state)
{
    (void)state;
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *p = prime(512), *q = BN_dup(p), *small = BN_new(), *r = roca_prime(), *s = roca_prime();
    do
        BN_add_word(q, 2);
    while (BN_check_prime(q, ctx, NULL) != 1);
    expect("the next prime", product(p, q), RSAKEY_CLOSE_PRIMES);
    BN_add_word(q, 1);
    expect("even", product(p, q), RSAKEY_SMALL_FACTOR);
    BN_set_word(small, 751);
    expect("the largest small factor", product(p, small), RSAKEY_SMALL_FACTOR);
    expect("ROCA", product(r, s), RSAKEY_ROCA);
    expect("one such prime is not seen, nor does it fall alone", product(p, r), RSAKEY_SOUND);
    BN_free(p);
    BN_free(q);
    BN_free(r);
    BN_free(s);
    BN_free(small);
    BN_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_keys_pass),
        cmocka_unit_test(flawed_keys_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
