#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "dnsd/reader.h"
#include "dnsview.h"

/* The reader's thread stays in the first send() until the test lets it go on. */
static sem_t entered, go_on;
static atomic_uint n_sent;

static void send_reply(const struct reader_return *ret, struct span reply)
{
    (void)ret;
    (void)reply;
    if (atomic_fetch_add(&n_sent, 1) == 0) {
        sem_post(&entered);
        sem_wait(&go_on);
    }
}

/* How many of `n` questions of one client are taken. */
static unsigned submit(struct reader *r, struct query_challenge *c, uint64_t client, unsigned n)
{
    const struct reader_return ret = { .send = send_reply };
    unsigned n_taken = 0;
    c->client = client;
    for (unsigned i = 0; i < n; i++)
        n_taken += reader_submit(r, c, &ret);
    return n_taken;
}

static void one_client_cannot_fill_the_queue(void **state)
{
    struct view *v = dnsview_new();
    struct query_ctx ctx = { .view = v };
    struct reader *r = NULL;
    uint8_t out[512], request[] = "\0\0\0\0\0\1\0\0\0\0\0\0\17_acme-challenge\40" DNSVIEW_ID
                                  "\6direct\7example\0\0\20\0\1";
    const struct peer peer = { .stream = true };
    (void)state;
    assert_int_equal(
        query_answer(&ctx, out, sizeof out, (struct span){ request, sizeof request - 1 }, &peer),
        0);
    assert_true(ctx.deferred);
    ctx.challenge.asked_at_s = 0; /* too old to be read for: no store is needed */
    assert_int_equal(sem_init(&entered, 0, 0), 0);
    assert_int_equal(sem_init(&go_on, 0, 0), 0);
    assert_int_equal(reader_new(&r, NULL), ERR_OK);
    assert_int_equal(submit(r, &ctx.challenge, 1, 1), 1);
    sem_wait(&entered);
    /* the one in hand still counts */
    assert_int_equal(submit(r, &ctx.challenge, 1, 2000), 127);
    assert_int_equal(submit(r, &ctx.challenge, 2, 10), 10);
    /* many clients fill it all the same, and then it is full for all */
    unsigned n = 138;
    for (uint64_t client = 3; client < 100; client++)
        n += submit(r, &ctx.challenge, client, 100);
    assert_int_equal(n, 1024);
    assert_int_equal(submit(r, &ctx.challenge, 5000, 1), 0);
    sem_post(&go_on);
    while (atomic_load(&n_sent) < n)
        sched_yield();
    /* and places come back */
    while (submit(r, &ctx.challenge, 1, 1) == 0)
        sched_yield();
    reader_free(r);
    view_free(v);
    sem_destroy(&entered);
    sem_destroy(&go_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_client_cannot_fill_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
