#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "common/net/loop.h"

static struct loop *loop;
static unsigned n_calls, order;

static int set_up(void **state)
{
    (void)state;
    n_calls = order = 0;
    return loop_new(&loop) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void count(void *arg)
{
    unsigned *last = arg;
    n_calls++;
    if (last != NULL && n_calls == *last)
        loop_stop(loop);
}

#define N_POSTS 10000u

static void *post_many(void *arg)
{
    for (unsigned i = 0; i < N_POSTS; i++)
        assert_int_equal(loop_post(loop, count, arg), ERR_OK);
    return NULL;
}

static void test_posts_from_threads(void **state)
{
    static unsigned all = 3 * N_POSTS;
    pthread_t threads[3];
    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &all), 0);
    loop_run(loop);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(n_calls, all);
}

static void test_stop_before_run(void **state)
{
    (void)state;
    loop_stop(loop);
    loop_run(loop);                                         /* returns */
    assert_int_equal(loop_post(loop, count, NULL), ERR_OK); /* dropped by loop_free() */
}

static void first(void *arg)
{
    (void)arg;
    order = order * 10 + 1;
}

static void second(void *arg)
{
    (void)arg;
    order = order * 10 + 2;
    loop_stop(loop);
}

static void test_timers(void **state)
{
    struct loop_timer *a = NULL, *b = NULL, *c = NULL;
    (void)state;
    assert_int_equal(loop_timer_new(&a, loop, first, NULL), ERR_OK);
    assert_int_equal(loop_timer_new(&b, loop, second, NULL), ERR_OK);
    assert_int_equal(loop_timer_new(&c, loop, first, NULL), ERR_OK);
    loop_timer_set(c, 5);
    loop_timer_cancel(c); /* does not fire */
    loop_timer_set(b, 1);
    loop_timer_set(b, 60); /* instead of the earlier one */
    loop_timer_set(a, -5);
    loop_run(loop);
    assert_int_equal(order, 12);
    loop_timer_free(a);
    loop_timer_free(b);
    loop_timer_free(c);
    loop_timer_free(NULL);
}

static void test_signal(void **state)
{
    struct loop_signal *s = NULL;
    static unsigned one = 1;
    (void)state;
    assert_int_equal(loop_signal_new(&s, loop, SIGUSR1, count, &one), ERR_OK);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(raise(SIGPIPE), 0); /* ignored since loop_new() */
    loop_run(loop);
    assert_int_equal(n_calls, 1);
    loop_signal_free(s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = { T(test_posts_from_threads), T(test_stop_before_run),
                                        T(test_timers), T(test_signal) };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
