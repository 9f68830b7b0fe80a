#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dnsd/core/sigcache.h"

#define SLOTS 16
#define WAYS 4 /* of a bucket */

/* The digest number `i` of bucket `bucket`. */
static const uint8_t *digest(uint8_t bucket, uint8_t i)
{
    static uint8_t d[SIGCACHE_DIGEST_LEN];
    memset(d, 0, sizeof d);
    d[0] = bucket;
    d[31] = i;
    return d;
}

static const uint8_t *sig(uint8_t v)
{
    static uint8_t s[SIGCACHE_SIG_LEN];
    memset(s, v, sizeof s);
    return s;
}

static struct sigcache *make(void)
{
    struct sigcache *c = NULL;
    assert_int_equal(sigcache_new(&c, SLOTS), ERR_OK);
    return c;
}

static void sizes(void **state)
{
    static const struct {
        const char *why;
        size_t n_slots;
        enum err want;
    } CASES[] = {
        { "none", 0, ERR_RANGE },         { "less than two buckets", 4, ERR_RANGE },
        { "the least", 8, ERR_OK },       { "no power of two", 24, ERR_RANGE },
        { "the most", 1u << 20, ERR_OK }, { "too many", 1u << 21, ERR_RANGE },
    };
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct sigcache *c = NULL;
        enum err e = sigcache_new(&c, CASES[i].n_slots);
        if (e != CASES[i].want || (c == NULL) != (e != ERR_OK))
            fail_msg("%s: %s", CASES[i].why, err_name(e));
        sigcache_free(c);
    }
}

static void what_was_put_is_there(void **state)
{
    (void)state;
    struct sigcache *c = make();
    assert_null(sigcache_get(c, digest(0, 0))); /* all zero, as free slots are */
    sigcache_put(c, digest(0, 0), sig(7));
    assert_memory_equal(sigcache_get(c, digest(0, 0)), sig(7), SIGCACHE_SIG_LEN);
    assert_null(sigcache_get(c, digest(0, 1))); /* all 32 bytes count */
    assert_null(sigcache_get(c, digest(1, 0)));
    sigcache_free(c);
}

/* A full bucket gives up what was used longest ago, and other buckets nothing. */
static void the_oldest_goes(void **state)
{
    (void)state;
    struct sigcache *c = make();
    sigcache_put(c, digest(1, 9), sig(9));
    for (uint8_t i = 0; i < WAYS; i++)
        sigcache_put(c, digest(0, i), sig(i));
    assert_non_null(sigcache_get(c, digest(0, 0))); /* now number 1 is the oldest */
    sigcache_put(c, digest(0, WAYS), sig(WAYS));
    assert_null(sigcache_get(c, digest(0, 1)));
    for (uint8_t i = 0; i <= WAYS; i++) {
        if (i != 1)
            assert_memory_equal(sigcache_get(c, digest(0, i)), sig(i), SIGCACHE_SIG_LEN);
    }
    assert_memory_equal(sigcache_get(c, digest(1, 9)), sig(9), SIGCACHE_SIG_LEN);
    sigcache_free(c);
}

/* Case 7: however many signatures there are, what is used all the time stays. */
static void a_flood_leaves_what_is_used(void **state)
{
    (void)state;
    struct sigcache *c = make();
    sigcache_put(c, digest(2, 0), sig(1));
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t d[SIGCACHE_DIGEST_LEN] = { (uint8_t)i, (uint8_t)(i >> 8), 1 };
        sigcache_put(c, d, sig(2));
        assert_non_null(sigcache_get(c, digest(2, 0)));
    }
    sigcache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(what_was_put_is_there),
        cmocka_unit_test(the_oldest_goes),
        cmocka_unit_test(a_flood_leaves_what_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
