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

static BIGNUM *make_modulus(const BIGNUM *p, const BIGNUM *q)
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
        expect("two random primes", make_modulus(p, q), RSAKEY_SOUND);
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
    expect("the next prime", make_modulus(p, q), RSAKEY_CLOSE_PRIMES);
    BN_add_word(q, 1);
    expect("even", make_modulus(p, q), RSAKEY_SMALL_FACTOR);
    BN_set_word(small, 751);
    expect("the largest small factor", make_modulus(p, small), RSAKEY_SMALL_FACTOR);
    expect("ROCA", make_modulus(r, s), RSAKEY_ROCA);
    expect("one such prime is not seen, nor does it fall alone", make_modulus(p, r), RSAKEY_SOUND);
    BN_free(p);
    BN_free(q);
    BN_free(r);
    BN_free(s);
    BN_free(small);
    BN_CTX_free(ctx);
}

static struct span bytes_of(const BIGNUM *n, uint8_t out[512])
{
    return (struct span){ out, (size_t)BN_bn2bin(n, out) };
}

static void moduli_that_share_a_prime(void **state)
{
    enum { SHARED, OTHER, A, B, C, N };
    uint8_t mine[512], text[512];
    BIGNUM *p[N];
    struct rsakey_product *product = NULL;
    (void)state;
    for (int i = 0; i < N; i++)
        p[i] = prime(512);
    BIGNUM *n = make_modulus(p[SHARED], p[OTHER]);
    BIGNUM *sound = make_modulus(p[A], p[B]), *bad = make_modulus(p[C], p[SHARED]);
    assert_int_equal(rsakey_product_new(&product, bytes_of(n, mine)), ERR_OK);
    assert_false(rsakey_product_shares(product)); /* with nothing */
    for (int i = 0; i < 20; i++)
        assert_true(rsakey_product_add(product, bytes_of(sound, text)));
    assert_false(rsakey_product_shares(product));
    assert_true(rsakey_product_add(product, bytes_of(bad, text)));
    assert_true(rsakey_product_add(product, bytes_of(sound, text)));
    assert_true(rsakey_product_shares(product));
    assert_true(rsakey_product_divides(product, bytes_of(bad, text)));
    assert_false(rsakey_product_divides(product, bytes_of(sound, text)));
    rsakey_product_free(product);
    for (int i = 0; i < N; i++)
        BN_free(p[i]);
    BN_free(n);
    BN_free(sound);
    BN_free(bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_keys_pass),
        cmocka_unit_test(flawed_keys_are_named),
        cmocka_unit_test(moduli_that_share_a_prime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
