#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "provisiond/relay/turns.h"

#define SECOND_US INT64_C(1000000)
#define N_JOBS 60

/* Two devices that always have something to move: one with many connections, one with one. */
struct fixture {
    struct turns turns;
    struct turns_member busy, single;
    struct turns_job jobs[N_JOBS], job;
    size_t busy_bytes, single_bytes;
};

static void set_up(struct fixture *f, int64_t bytes_per_s, int64_t member_bytes_per_s)
{
    *f = (struct fixture){ .busy_bytes = 0 };
    turns_init(&f->turns);
    turns_set_pace(&f->turns, bytes_per_s, member_bytes_per_s);
    turns_member_init(&f->busy);
    turns_member_init(&f->single);
    for (size_t i = 0; i < N_JOBS; i++)
        turns_add(&f->turns, &f->busy, &f->jobs[i]);
    turns_add(&f->turns, &f->single, &f->job);
}

/* Each turn moves all it may; waits go by at once. Until `until_us`, or `n` turns. */
static void play(struct fixture *f, int64_t until_us, int n)
{
    int64_t now_us = SECOND_US;
    until_us += now_us;
    while (n-- > 0 && now_us < until_us) {
        struct turns_member *m;
        size_t budget = 0;
        int64_t wait_us = -1;
        struct turns_job *job = turns_next(&f->turns, now_us, &m, &budget, &wait_us);
        if (job == NULL) {
            assert_true(wait_us > 0);
            now_us += wait_us;
            continue;
        }
        assert_in_range(budget, TURNS_BYTES_MIN, TURNS_BYTES_MAX);
        *(m == &f->busy ? &f->busy_bytes : &f->single_bytes) += budget;
        turns_add(&f->turns, m, job);
        turns_used(&f->turns, m, budget, now_us);
    }
}

static void sixty_connections_have_no_more_than_one(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f, 0, 0);
    play(&f, INT64_MAX / 2, 1000);
    assert_int_equal(f.busy_bytes, f.single_bytes);
    assert_int_equal(f.busy_bytes, (size_t)500 * TURNS_BYTES_MAX);
}

static void connections_of_a_device_take_turns_too(void **state)
{
    struct fixture f;
    unsigned seen[N_JOBS] = { 0 };
    (void)state;
    set_up(&f, 0, 0);
    turns_remove(&f.turns, &f.single, &f.job);
    for (int i = 0; i < 3 * N_JOBS; i++) {
        struct turns_member *m;
        size_t budget;
        int64_t wait_us;
        struct turns_job *job = turns_next(&f.turns, 1, &m, &budget, &wait_us);
        assert_ptr_equal(m, &f.busy);
        seen[job - f.jobs]++;
        turns_add(&f.turns, m, job);
    }
    for (size_t i = 0; i < N_JOBS; i++)
        assert_int_equal(seen[i], 3);
}

static void paces(void **state)
{
    static const struct {
        const char *why;
        int64_t all, each;             /* bytes a second */
        size_t want_busy, want_single; /* in ten seconds */
    } CASES[] = {
        { "the relay's pace is shared evenly", 10000000, 0, 50000000, 50000000 },
        { "each device's own", 0, 1000000, 10000000, 10000000 },
        { "the lower one counts", 10000000, 1000000, 10000000, 10000000 },
        { "a slow relay", 100000, 0, 500000, 500000 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct fixture f;
        set_up(&f, CASES[i].all, CASES[i].each);
        play(&f, 10 * SECOND_US, 1000000);
        /* a tenth second of credit, and a turn */
        size_t slack = CASES[i].want_busy / 50 + TURNS_BYTES_MAX;
        if (f.busy_bytes > CASES[i].want_busy + slack ||
            f.busy_bytes + slack < CASES[i].want_busy ||
            f.single_bytes > CASES[i].want_single + slack ||
            f.single_bytes + slack < CASES[i].want_single)
            fail_msg("%s: %zu and %zu", CASES[i].why, f.busy_bytes, f.single_bytes);
    }
}

static void what_is_taken_out_has_no_turn(void **state)
{
    struct turns t;
    struct turns_member m, *who;
    struct turns_job a = { .queued = false }, b = a;
    size_t budget;
    int64_t wait_us = 0;
    (void)state;
    turns_init(&t);
    turns_member_init(&m);
    turns_add(&t, &m, &a);
    turns_add(&t, &m, &a); /* once is enough */
    turns_add(&t, &m, &b);
    turns_remove(&t, &m, &a);
    assert_ptr_equal(turns_next(&t, 1, &who, &budget, &wait_us), &b);
    assert_null(turns_next(&t, 1, &who, &budget, &wait_us));
    assert_int_equal(wait_us, -1);
    /* also one that waits for its pace */
    turns_set_pace(&t, 0, 1000000);
    turns_used(&t, &m, 500000, 1);
    turns_add(&t, &m, &a);
    assert_null(turns_next(&t, 1, &who, &budget, &wait_us));
    assert_in_range(wait_us, 1, SECOND_US);
    turns_remove(&t, &m, &a);
    assert_null(turns_next(&t, 1, &who, &budget, &wait_us));
    assert_int_equal(wait_us, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixty_connections_have_no_more_than_one),
        cmocka_unit_test(connections_of_a_device_take_turns_too),
        cmocka_unit_test(paces),
        cmocka_unit_test(what_is_taken_out_has_no_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
