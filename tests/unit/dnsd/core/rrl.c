#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "dnsd/core/rrl.h"

#define T0 1700000000

struct counts {
    unsigned n[3]; /* by verdict */
};

/* `n` answers of `kind` to the client `last` of the IPv4 prefix number `prefix`. */
static struct counts count(struct rrl *r, const struct rrl_policy *p, uint32_t prefix, uint8_t last,
                           enum rrl_kind kind, unsigned n, int64_t now_s)
{
    uint8_t ip[4] = { (uint8_t)(prefix >> 16), (uint8_t)(prefix >> 8), (uint8_t)prefix, last };
    struct counts c = { { 0 } };
    for (unsigned i = 0; i < n; i++)
        c.n[rrl_count(r, p, (struct span){ ip, 4 }, kind, now_s)]++;
    return c;
}

static int setup(void **state)
{
    struct rrl *r = NULL;
    assert_int_equal(rrl_new(&r, 0x1234567), ERR_OK);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rrl_free(*state);
    return 0;
}

static void a_prefix_gets_so_many(void **state)
{
    struct rrl *r = *state;
    const struct rrl_policy p = { .per_second = 10, .slip = 2 };
    struct counts c = count(r, &p, 0xc00002, 1, RRL_ADDRESS, 30, T0);
    assert_int_equal(c.n[RRL_ANSWER], 10);
    assert_int_equal(c.n[RRL_SLIP], 10); /* every second of the rest */
    assert_int_equal(c.n[RRL_DROP], 10);
    c = count(r, &p, 0xc00002, 200, RRL_ADDRESS, 10, T0);
    assert_int_equal(c.n[RRL_ANSWER], 0); /* another address of the /24 */
    c = count(r, &p, 0xc00003, 1, RRL_ADDRESS, 10, T0);
    assert_int_equal(c.n[RRL_ANSWER], 10); /* the next /24 */
    c = count(r, &p, 0xc00002, 1, RRL_NEGATIVE, 30, T0);
    assert_int_equal(c.n[RRL_ANSWER], 10); /* another kind */
    c = count(r, &p, 0xc00002, 1, RRL_REFUSED, 30, T0);
    assert_int_equal(c.n[RRL_ANSWER], 0); /* all kinds together */
    c = count(r, &p, 0xc00002, 1, RRL_ADDRESS, 30, T0 + 1);
    assert_int_equal(c.n[RRL_ANSWER], 10); /* the next second */
    c = count(r, &p, 0xc00002, 1, RRL_ADDRESS, 30, T0 - 100000);
    assert_int_equal(c.n[RRL_ANSWER], 10); /* the clock was set back */
}

static void slip_is_a_choice(void **state)
{
    struct rrl *r = *state;
    struct rrl_policy p = { .per_second = 1, .slip = 0 };
    assert_int_equal(count(r, &p, 1, 1, RRL_STATIC, 100, T0).n[RRL_SLIP], 0);
    p.slip = 1;
    assert_int_equal(count(r, &p, 2, 1, RRL_STATIC, 100, T0).n[RRL_SLIP], 99);
    p.slip = 10;
    assert_int_equal(count(r, &p, 3, 1, RRL_STATIC, 101, T0).n[RRL_SLIP], 10);
}

static void prefixes(void **state)
{
    uint8_t a[16] = { 0x20, 1, 0xd, 0xb8, 1, 2, 3, 4, 5 }, b[16] = { 0x20, 1, 0xd, 0xb8, 1, 2, 3 };
    struct span sa = { a, 16 }, sb = { b, 16 };
    (void)state;
    assert_true(rrl_prefix(sa) == rrl_prefix(sb)); /* one /56 */
    b[6] = 9;
    assert_true(rrl_prefix(sa) != rrl_prefix(sb));
    /* ::c000:2 as a prefix is not 192.0.2 */
    uint8_t v4[4] = { 192, 0, 2, 1 }, v6[16] = { 0, 0, 0, 0, 192, 0, 2 };
    assert_true(rrl_prefix((struct span){ v4, 4 }) != rrl_prefix((struct span){ v6, 16 }));
}

static void exempt_networks(void **state)
{
    static const struct {
        const char *why;
        struct rrl_net net;
        uint32_t prefix;
        bool exempt;
    } CASES[] = {
        { "the network", { { 192, 0, 2 }, 4, 24 }, 0xc00002, true },
        { "the next one", { { 192, 0, 2 }, 4, 24 }, 0xc00003, false },
        { "a wide one", { { 192, 0, 0 }, 4, 15 }, 0xc001ff, true },
        { "outside of it", { { 192, 0, 0 }, 4, 15 }, 0xc002ff, false },
        { "all", { { 0 }, 4, 0 }, 0xc002ff, true },
        { "one address", { { 192, 0, 2, 7 }, 4, 32 }, 0xc00002, true },
        { "another address", { { 192, 0, 2, 8 }, 4, 32 }, 0xc00002, false },
        { "the other family", { { 192, 0, 2 }, 16, 24 }, 0xc00002, false },
    };
    struct rrl *r = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct rrl_policy p = { .per_second = 1, .n_exempt = 2 };
        p.exempt[1] = CASES[i].net;
        struct counts c = count(r, &p, CASES[i].prefix, 7, RRL_ADDRESS, 50, T0 + (int64_t)i);
        if (c.n[RRL_ANSWER] != (CASES[i].exempt ? 50 : 1))
            fail_msg("%s: %u", CASES[i].why, c.n[RRL_ANSWER]);
    }
}

/* A flood of prefixes past the size of the table neither frees the one that is limited, nor takes
 * an answer from a client who comes anew. */
static void very_many_prefixes(void **state)
{
    struct rrl *r = *state;
    const struct rrl_policy p = { .per_second = 20, .slip = 2 };
    (void)count(r, &p, 0xc00002, 1, RRL_ADDRESS, 40, T0);
    unsigned answered = 0;
    for (uint32_t i = 0; i < 1000000; i++) {
        (void)count(r, &p, 0x100000 + i * 7, 1, RRL_NEGATIVE, 1, T0);
        if (i % 10000 == 0)
            answered += count(r, &p, 0xc00002, 1, RRL_ADDRESS, 1, T0).n[RRL_ANSWER];
    }
    assert_int_equal(answered, 0);
    assert_int_equal(count(r, &p, 0x0a0000, 1, RRL_ADDRESS, 20, T0).n[RRL_ANSWER], 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(a_prefix_gets_so_many), T(slip_is_a_choice),   T(prefixes),
        T(exempt_networks),       T(very_many_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
