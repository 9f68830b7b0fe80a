#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "common/base/secret.h"

static void test_random(void **state)
{
    unsigned char a[64] = { 0 }, b[64] = { 0 };
    (void)state;
    secret_random(a, sizeof a);
    secret_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    secret_random(a, 0);
}

static void test_equal(void **state)
{
    unsigned char a[32], b[32];
    (void)state;
    secret_random(a, sizeof a);
    for (size_t i = 0; i < sizeof a; i++) { /* each byte counts */
        memcpy(b, a, sizeof a);
        assert_true(secret_equal(a, b, sizeof a));
        b[i] ^= 0x80;
        assert_false(secret_equal(a, b, sizeof a));
    }
    assert_true(secret_equal(a, b, 0));
}

static void test_harden(void **state)
{
    struct rlimit r;
    (void)state;
    secret_harden_process();
#ifndef LANYARD_SANITIZED /* a leak check attaches to the process */
    assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
#endif
    assert_int_equal(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    assert_int_equal(getrlimit(RLIMIT_CORE, &r), 0);
    assert_int_equal(r.rlim_cur, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random), cmocka_unit_test(test_equal),
                                        cmocka_unit_test(test_harden) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
