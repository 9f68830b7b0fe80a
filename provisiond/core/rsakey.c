#include "provisiond/core/rsakey.h"

#include <stdint.h>
#include <stdlib.h>

#define FACTOR_MAX 752
#define FERMAT_ROUNDS 100

static bool has_small_factor(const BIGNUM *n)
{
    if (!BN_is_odd(n))
        return true;
    for (BN_ULONG d = 3; d < FACTOR_MAX; d += 2) {
        if (BN_mod_word(n, d) == 0)
            return true;
    }
    return false;
}

/* Primes of that library are k*M + (65537^a mod M), M a product of small primes: so the modulus is
 * a power of 65537 modulo every one of them. By chance that happens to one key in 2^27. */
static bool has_roca_fingerprint(const BIGNUM *n)
{
    static const uint8_t PRIMES[] = { 11, 13, 17,  19,  37,  53,  61,  71, 73,
                                      79, 97, 103, 107, 109, 127, 151, 157 };
    for (size_t i = 0; i < ARRAY_LEN(PRIMES); i++) {
        unsigned p = PRIMES[i], step = 65537 % p, power = 1;
        unsigned rest = (unsigned)BN_mod_word(n, p);
        bool found = false;
        do {
            found = found || power == rest;
            power = power * step % p;
        } while (power != 1);
        if (!found)
            return false;
    }
    return true;
}

/* floor(sqrt(n)) by Newton's method from above. False when memory runs short. */
static bool square_root(BIGNUM *out, const BIGNUM *n, BN_CTX *ctx)
{
    BN_CTX_start(ctx);
    BIGNUM *x = BN_CTX_get(ctx), *y = BN_CTX_get(ctx);
    bool ok =
        y != NULL && BN_set_word(y, 1) == 1 && BN_lshift(y, y, (BN_num_bits(n) + 1) / 2 + 1) == 1;
    do {
        ok = ok && BN_copy(x, y) != NULL && BN_div(y, NULL, n, x, ctx) == 1 &&
             BN_add(y, y, x) == 1 && BN_rshift1(y, y) == 1;
    } while (ok && BN_cmp(y, x) < 0);
    ok = ok && BN_copy(out, x) != NULL;
    BN_CTX_end(ctx);
    return ok;
}

/* Squares end in few ways: most other numbers are told without a root. */
static bool may_be_square(const BIGNUM *v)
{
    BN_ULONG low = BN_mod_word(v, 64), m63 = BN_mod_word(v, 63), m65 = BN_mod_word(v, 65);
    bool ok64 = false, ok63 = false, ok65 = false;
    for (BN_ULONG i = 0; i < 65; i++) {
        ok64 = ok64 || i * i % 64 == low;
        ok63 = ok63 || i * i % 63 == m63;
        ok65 = ok65 || i * i % 65 == m65;
    }
    return ok64 && ok63 && ok65;
}

static bool is_square(const BIGNUM *v, BN_CTX *ctx, bool *ok)
{
    if (!may_be_square(v))
        return false;
    BN_CTX_start(ctx);
    BIGNUM *root = BN_CTX_get(ctx), *square = BN_CTX_get(ctx);
    *ok = *ok && square != NULL && square_root(root, v, ctx) && BN_sqr(square, root, ctx) == 1;
    bool same = *ok && BN_cmp(square, v) == 0;
    BN_CTX_end(ctx);
    return same;
}

/* n = a^2 - b^2 for an `a` just above the root of n: its primes are a-b and a+b. */
static bool has_close_primes(const BIGNUM *n, BN_CTX *ctx, bool *ok)
{
    bool found = false;
    BN_CTX_start(ctx);
    BIGNUM *a = BN_CTX_get(ctx), *rest = BN_CTX_get(ctx);
    *ok = rest != NULL && square_root(a, n, ctx) && BN_add_word(a, 1) == 1 &&
          BN_sqr(rest, a, ctx) == 1 && BN_sub(rest, rest, n) == 1;
    for (int i = 0; i < FERMAT_ROUNDS && *ok && !found; i++) {
        found = is_square(rest, ctx, ok);
        /* (a+1)^2 = a^2 + 2a + 1 */
        *ok = *ok && BN_add(rest, rest, a) == 1 && BN_add(rest, rest, a) == 1 &&
              BN_add_word(rest, 1) == 1 && BN_add_word(a, 1) == 1;
    }
    BN_CTX_end(ctx);
    return found;
}

enum rsakey_flaw rsakey_check(const BIGNUM *n)
{
    bool ok = false;
    if (has_small_factor(n))
        return RSAKEY_SMALL_FACTOR;
    if (has_roca_fingerprint(n))
        return RSAKEY_ROCA;
    BN_CTX *ctx = BN_CTX_new();
    bool close = ctx != NULL && has_close_primes(n, ctx, &ok);
    BN_CTX_free(ctx);
    if (close)
        return RSAKEY_CLOSE_PRIMES;
    return ok ? RSAKEY_SOUND : RSAKEY_UNKNOWN;
}

/* --- shared primes --- */

struct rsakey_product {
    BN_CTX *ctx;
    BN_MONT_CTX *mont;
    BIGNUM *n, *product, *other, *common;
};

enum err rsakey_product_new(struct rsakey_product **out, struct span n)
{
    struct rsakey_product *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->ctx = BN_CTX_new();
    p->n = BN_bin2bn(n.p, (int)n.len, NULL);
    p->product = BN_new();
    p->other = BN_new();
    p->common = BN_new();
    p->mont = BN_MONT_CTX_new();
    if (p->ctx == NULL || p->mont == NULL || p->n == NULL || p->product == NULL ||
        p->other == NULL || p->common == NULL || BN_one(p->product) != 1 ||
        BN_MONT_CTX_set(p->mont, p->n, p->ctx) != 1) {
        rsakey_product_free(p);
        return ERR_NOMEM;
    }
    *out = p;
    return ERR_OK;
}

void rsakey_product_free(struct rsakey_product *p)
{
    if (p == NULL)
        return;
    BN_free(p->n);
    BN_free(p->product);
    BN_free(p->other);
    BN_free(p->common);
    BN_MONT_CTX_free(p->mont);
    BN_CTX_free(p->ctx);
    free(p);
}

/* By Montgomery's multiplication, four times as fast: what it divides by at each step is a power of
 * two, which no modulus has in common with another. It takes any number that is no longer than n.
 */
bool rsakey_product_add(struct rsakey_product *p, struct span other)
{
    return BN_bin2bn(other.p, (int)other.len, p->other) != NULL &&
           (BN_num_bits(p->other) <= BN_num_bits(p->n) ||
            BN_nnmod(p->other, p->other, p->n, p->ctx) == 1) &&
           BN_mod_mul_montgomery(p->product, p->product, p->other, p->mont, p->ctx) == 1;
}

bool rsakey_product_shares(struct rsakey_product *p)
{
    return BN_gcd(p->common, p->product, p->n, p->ctx) == 1 && !BN_is_one(p->common);
}

bool rsakey_product_divides(const struct rsakey_product *p, struct span other)
{
    BIGNUM *divisor = BN_new();
    bool ok = divisor != NULL && BN_bin2bn(other.p, (int)other.len, p->other) != NULL &&
              BN_gcd(divisor, p->common, p->other, p->ctx) == 1 && !BN_is_one(divisor);
    BN_free(divisor);
    return ok;
}
