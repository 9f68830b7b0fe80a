#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/net/addr.h"
#include "provisiond/relay/prefixes.h"

#define MAX 2 /* connections of a network */

static const struct gcra_rate FAST = { .interval_ms = 1, .burst = 1000 };

static struct prefix prefix(const char *address)
{
    struct addr a;
    struct err_info info;
    assert_int_equal(addr_parse(&a, address, &info), ERR_OK);
    return prefix_of((const struct sockaddr *)&a.ss);
}

/* One network is full; somebody else comes. */
static void whose_limit_it_is(void **state)
{
    static const struct {
        const char *why, *full, *comes;
        enum err want;
    } CASES[] = {
        { "the same IPv4 address, whatever port", "192.0.2.1:1", "192.0.2.1:2", ERR_LIMIT },
        { "its neighbour", "192.0.2.1:1", "192.0.2.2:1", ERR_OK },
        { "another host of the /64", "[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:1", ERR_LIMIT },
        { "the /64 beside it", "[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", ERR_OK },
        { "the first eight bytes of one are the other's four", "[c000:201::1]:1", "192.0.2.1:1",
          ERR_OK },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct prefixes *p;
        struct prefix full = prefix(CASES[i].full), comes = prefix(CASES[i].comes);
        print_message("%s\n", CASES[i].why);
        assert_int_equal(prefixes_new(&p, FAST), ERR_OK);
        for (int n = 0; n < MAX; n++)
            assert_int_equal(prefixes_take(p, &full, MAX, 1000), ERR_OK);
        assert_int_equal(prefixes_take(p, &comes, MAX, 1000), CASES[i].want);
        prefixes_give(p, &full);
        assert_int_equal(prefixes_take(p, &comes, MAX, 1000), ERR_OK);
        prefixes_free(p);
    }
}

static struct prefix nth_of_48(int n, int net)
{
    char text[64];
    (void)snprintf(text, sizeof text, "[2001:db8:%x:%x::1]:1", (unsigned)net, (unsigned)n);
    return prefix(text);
}

/* Whoever has 65,536 networks has the room of eight of them. */
static void a_48_is_one_customer(void **state)
{
    struct prefixes *p;
    const int room = MAX * PREFIX_WIDE;
    (void)state;
    assert_int_equal(prefixes_new(&p, FAST), ERR_OK);
    for (int n = 0; n < room; n++) {
        struct prefix one = nth_of_48(n, 1);
        assert_int_equal(prefixes_take(p, &one, MAX, 1000), ERR_OK);
    }
    struct prefix late = nth_of_48(room, 1), other = nth_of_48(0, 2), first = nth_of_48(0, 1);
    assert_int_equal(prefixes_take(p, &late, MAX, 1000), ERR_LIMIT);
    assert_int_equal(prefixes_take(p, &other, MAX, 1000), ERR_OK);
    assert_int_equal(prefixes_count(p), room + 3); /* and two /48 */
    prefixes_give(p, &first);
    assert_int_equal(prefixes_take(p, &late, MAX, 1000), ERR_OK);
    prefixes_give(p, &late);
    prefixes_give(p, &other);
    for (int n = 1; n < room; n++) {
        struct prefix one = nth_of_48(n, 1);
        prefixes_give(p, &one);
    }
    assert_int_equal(prefixes_count(p), 0); /* who was refused left nothing behind */
    prefixes_free(p);
}

/* How many of 1,000 networks get in, at once. Two may share a bucket: it is not said which. */
static int come_and_go(struct prefixes *p, int first, int64_t now_ms)
{
    int n = 0;
    for (int i = first; i < first + 1000; i++) {
        struct prefix one = nth_of_48(i, 1);
        if (prefixes_take(p, &one, MAX, now_ms) != ERR_OK)
            continue;
        n++;
        prefixes_give(p, &one);
    }
    return n;
}

/* Eight times as fast as from one /64. */
static void a_48_has_a_rate(void **state)
{
    struct prefixes *p;
    const struct gcra_rate slow = { .interval_ms = 800, .burst = 1 };
    (void)state;
    assert_int_equal(prefixes_new(&p, FAST), ERR_OK);
    prefixes_set_rate(p, slow);
    assert_int_equal(come_and_go(p, 0, 1000), PREFIX_WIDE);
    assert_int_equal(come_and_go(p, 2000, 1000), 0);
    assert_int_equal(come_and_go(p, 4000, 1000 + 800 / PREFIX_WIDE), 1);
    prefixes_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whose_limit_it_is),
        cmocka_unit_test(a_48_is_one_customer),
        cmocka_unit_test(a_48_has_a_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
