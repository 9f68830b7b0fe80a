#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

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

/* Lines that are written to standard error while `n` questions find no thread for their store. */
static unsigned lines_of(struct reader *r, const struct query_challenge *c, unsigned n)
{
    const struct reader_return ret = { .send = send_reply };
    FILE *log = tmpfile();
    int before = dup(STDERR_FILENO);
    unsigned n_lines = 0;
    assert_non_null(log);
    assert_true(before >= 0 && dup2(fileno(log), STDERR_FILENO) >= 0);
    for (unsigned i = 0; i < n; i++)
        n_lines += reader_submit(r, c, &ret); /* there would be none */
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    rewind(log);
    for (int ch; (ch = getc(log)) != EOF;)
        n_lines += ch == '\n';
    (void)fclose(log);
    (void)close(before);
    return n_lines;
}

/* A system without threads to spare is no way to fill the log. */
static void a_flood_without_a_thread_is_logged_little(void **state)
{
    struct zone zone = { .challenges = NULL };
    struct query_challenge c = { .zone = &zone };
    const struct reader_return ret = { .send = send_reply };
    struct reader *r = NULL;
    char url[32];
    (void)state;
    assert_int_equal(reader_new(&r, NULL), ERR_OK);
    zone.challenges = url;
    for (unsigned i = 0; i < 2 * READER_STORES_MAX; i++) {
        (void)snprintf(url, sizeof url, "sqlite:%u", i);
        assert_true(reader_submit(r, &c, &ret));
    }
    (void)snprintf(url, sizeof url, "sqlite:more");
    assert_in_range(lines_of(r, &c, 1000), 1, 3);
    reader_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_client_cannot_fill_the_queue),
        cmocka_unit_test(a_flood_without_a_thread_is_logged_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
