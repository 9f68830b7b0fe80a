/* Signatures over static records, as time goes by and as clocks are set: asked for at any moment,
 * they are there, and ldns verifies them; none is made on a question's path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "dnsd/signwatch.h"
#include "dnssigned.h"

#define NOW (SIGN_CLOCK_MIN + 1700000)
#define D ".direct.example."
#define MINUTE 60
#define HOUR 3600
#define DAY 86400

struct fixture {
    struct dnssigned kit;
    struct query_ctx ctx;
    struct signwatch *watch;
    int64_t now_s, mono_s;
    uint8_t reply[65535];
};

static int set_up(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);
    assert_non_null(fx);
    dnssigned_init(&fx->kit, 2, NOW);
    fx->now_s = NOW;
    fx->mono_s = 1000;
    assert_int_equal(signer_new(&fx->ctx.signer, 0), ERR_OK);
    assert_int_equal(signwatch_new(&fx->watch, fx->now_s, fx->mono_s * 1000), ERR_OK);
    *state = fx;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;
    signwatch_free(fx->watch);
    signer_free(fx->ctx.signer);
    dnssigned_clear(&fx->kit);
    free(fx);
    return 0;
}

/* One look, as the main thread takes it; true when there is another view. */
static bool poll_once(struct fixture *fx)
{
    struct view *next = NULL;
    signwatch_poll(fx->watch, fx->kit.view, fx->now_s, fx->mono_s * 1000, &next);
    if (next == NULL)
        return false;
    assert_ptr_equal(next->zones, fx->kit.view->zones);
    view_retire(fx->kit.view, next);
    fx->kit.view = next;
    return true;
}

static const struct {
    const char *name;
    unsigned type;
} STATIC[] = {
    { "direct.example.", RR_SOA },
    { "direct.example.", RR_NS },
    { "direct.example.", 257 },
    { "direct.example.", RR_DNSKEY },
    { "direct.example.", RR_CDS },
    { "direct.example.", RR_CDNSKEY },
    { "ns1" D, RR_A },
    { "ns1" D, RR_AAAA },
    { "away" D, RR_CNAME },
    { "two" D, RR_TXT },
    { "deep.ent" D, RR_TXT },
    { "mx" D, 15 },
    { "acme" D, RR_DS },
};

/* Asks everything that is static over TCP with DO; with `verify`, ldns looks at each answer. */
static void ask_all(struct fixture *fx, bool verify)
{
    const struct peer peer = { .stream = true };
    fx->ctx.view = fx->kit.view;
    fx->ctx.now_s = fx->now_s;
    for (size_t i = 0; i < ARRAY_LEN(STATIC); i++) {
        struct name n;
        uint8_t request[512] = { 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1 };
        assert_int_equal(name_parse(&n, STATIC[i].name), ERR_OK);
        memcpy(request + 12, n.wire, n.len);
        uint8_t *p = request + 12 + n.len;
        const uint8_t tail[15] = { (uint8_t)(STATIC[i].type >> 8),
                                   (uint8_t)STATIC[i].type,
                                   0,
                                   1,
                                   0,
                                   0,
                                   41,
                                   4,
                                   208,
                                   0,
                                   0,
                                   0x80 };
        memcpy(p, tail, sizeof tail);
        size_t len = query_answer(&fx->ctx, fx->reply, sizeof fx->reply,
                                  (struct span){ request, 12u + n.len + sizeof tail }, &peer);
        assert_true(len > 12 && (fx->reply[3] & 15) == 0);
        ldns_pkt *pkt = NULL;
        if (!verify)
            continue;
        assert_int_equal(ldns_wire2pkt(&pkt, fx->reply, len), LDNS_STATUS_OK);
        /* by a clock that is a day behind, and until the end of a long TTL */
        for (int64_t d = -1; d <= 7; d += 4)
            assert_int_equal(dnssigned_verify(&fx->kit, ldns_pkt_answer(pkt), fx->now_s + d * DAY),
                             1);
        ldns_pkt_free(pkt);
    }
}

static uint64_t n_made(const struct fixture *fx)
{
    return metric_get(&signer_counts(fx->ctx.signer)->made);
}

static void pass(struct fixture *fx, int64_t s)
{
    fx->now_s += s;
    fx->mono_s += s;
}

static void test_none_is_signed_when_asked_for(void **state)
{
    struct fixture *fx = *state;
    unsigned n_views = 0;
    for (unsigned i = 0; i < 16 * DAY / (30 * MINUTE); i++) {
        pass(fx, 30 * MINUTE);
        ask_all(fx, i % (4 * DAY / (30 * MINUTE)) == 0);
        n_views += poll_once(fx);
    }
    assert_int_equal(n_made(fx), 0);
    assert_true(n_views > 10); /* a few at a time, not all at once */
    const struct signwatch_counts *c = signwatch_counts(fx->watch);
    assert_true(c->renewed >= 2 * ARRAY_LEN(STATIC));
    assert_int_equal(c->failed, 0);
    assert_int_equal(c->clock_steps, 0);
}

/* The control: without a look for a week, they are. */
static void test_unwatched_ones_get_old(void **state)
{
    struct fixture *fx = *state;
    pass(fx, 8 * DAY);
    ask_all(fx, true);
    assert_true(n_made(fx) >= ARRAY_LEN(STATIC));
}

static void test_nothing_is_due_just_now(void **state)
{
    struct fixture *fx = *state;
    while (poll_once(fx))
        ;
    assert_false(poll_once(fx));
    assert_false(presigned_is_due(fx->kit.view->presigned[0], fx->now_s));
    assert_true(presigned_is_due(fx->kit.view->presigned[0], fx->kit.view->presigned[0]->due_s));
}

static void test_case_12_the_clock_is_set(void **state)
{
    static const struct {
        const char *why;
        int64_t step_s;
    } STEPS[] = {
        { "a day ahead", DAY }, { "and back", -DAY },
        { "a day back", -DAY }, { "a month ahead", 30 * DAY },
        { "back", -30 * DAY },  { "a week and an hour", 7 * DAY + HOUR },
    };
    struct fixture *fx = *state;
    poll_once(fx);
    for (size_t i = 0; i < ARRAY_LEN(STEPS); i++) {
        fx->now_s += STEPS[i].step_s;
        fx->mono_s++;
        while (poll_once(fx))
            ;
        ask_all(fx, true);
        if (n_made(fx) != 0 || signwatch_counts(fx->watch)->clock_steps != i + 1)
            fail_msg("%s", STEPS[i].why);
    }
}

static void test_case_12_a_clock_older_than_the_key(void **state)
{
    struct fixture *fx = *state;
    fx->kit.view->zones[0]->keyring->made_s = NOW;
    fx->now_s -= 2 * DAY;
    assert_false(poll_once(fx));
    assert_true(signwatch_counts(fx->watch)->clock_is_wrong);
    fx->now_s += 2 * DAY + HOUR;
    (void)poll_once(fx);
    assert_false(signwatch_counts(fx->watch)->clock_is_wrong);
    fx->now_s = 1000; /* 1970 */
    assert_false(poll_once(fx));
    assert_true(signwatch_counts(fx->watch)->clock_is_wrong);
}

static void test_a_planned_time_asks_for_a_reload_once(void **state)
{
    struct fixture *fx = *state;
    struct keyring *ring = fx->kit.view->zones[0]->keyring;
    assert_false(signwatch_wants_reload(fx->watch, fx->kit.view, NOW)); /* nothing is planned */
    ring->changes_s = NOW + 10;
    assert_false(signwatch_wants_reload(fx->watch, fx->kit.view, NOW + 9));
    assert_true(signwatch_wants_reload(fx->watch, fx->kit.view, NOW + 10));
    assert_false(signwatch_wants_reload(fx->watch, fx->kit.view, NOW + 11)); /* though it failed */
    ring->changes_s = NOW + 20;
    assert_true(signwatch_wants_reload(fx->watch, fx->kit.view, NOW + 20));
}

/* A key that became active while the clock was ahead is not so any more, and is again in time. */
static void test_case_12_a_clock_that_was_ahead_of_a_planned_time(void **state)
{
    struct fixture *fx = *state;
    struct keyring *ring = fx->kit.view->zones[0]->keyring;
    (void)poll_once(fx);
    ring->changes_s = NOW + DAY;
    pass(fx, 1);
    fx->now_s += 2 * DAY;
    (void)poll_once(fx);
    assert_true(signwatch_wants_reload(fx->watch, fx->kit.view, fx->now_s));
    ring->changes_s = 0; /* as the reload reads it */
    ring->changed_s = NOW + DAY;
    pass(fx, 1);
    fx->now_s -= 2 * DAY;
    (void)poll_once(fx);
    assert_true(signwatch_wants_reload(fx->watch, fx->kit.view, fx->now_s));
    assert_false(signwatch_wants_reload(fx->watch, fx->kit.view, fx->now_s)); /* once */
    ring->changes_s = NOW + DAY;
    ring->changed_s = NOW - DAY;
    assert_false(signwatch_wants_reload(fx->watch, fx->kit.view, fx->now_s));
    pass(fx, DAY);
    (void)poll_once(fx);
    assert_true(signwatch_wants_reload(fx->watch, fx->kit.view, fx->now_s));
    fx->now_s -= HOUR; /* set back, but not before the time of a key */
    ring->changes_s = 0;
    (void)poll_once(fx);
    assert_false(signwatch_wants_reload(fx->watch, fx->kit.view, fx->now_s));
}

/* More than one look may make: the rest follows. */
static void test_many_are_signed_in_parts(void **state)
{
    struct fixture *fx = *state;
    struct presigned *part = NULL;
    struct signer *signer = NULL;
    size_t n = 0, n_all = 0;
    const struct zone *z = fx->kit.view->zones[0];
    assert_int_equal(signer_new(&signer, 0), ERR_OK);
    struct presigned *old = NULL;
    assert_int_equal(presigned_new(&old, z, signer, NOW), ERR_OK);
    do {
        assert_int_equal(presigned_renew(&part, old, z, signer, NOW + 30 * DAY, 3, &n), ERR_OK);
        assert_true(n <= 3);
        assert_true(n == 3 || !presigned_is_due(part, NOW + 30 * DAY));
        presigned_retire(old, part);
        old = part;
        n_all += n;
    } while (n > 0);
    assert_true(n_all > ARRAY_LEN(STATIC));
    presigned_retire(old, NULL);
    signer_free(signer);
}

int main(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_none_is_signed_when_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unwatched_ones_get_old, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_due_just_now, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_case_12_the_clock_is_set, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_case_12_a_clock_older_than_the_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_planned_time_asks_for_a_reload_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_case_12_a_clock_that_was_ahead_of_a_planned_time,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_are_signed_in_parts, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
