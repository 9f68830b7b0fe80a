#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "provisiond/store/current.h"
#include "provisiond/store/ledger.h"
#include "provisiond/store/queue.h"
#include "tests/lib/storefix.h"

#define NOW ((int64_t)1800000000)
#define DAY ((int64_t)86400)
#define US 1000000
#define ZONE "direct.example"

static const struct schedule_policy POLICY = { 25, true };

static const char *dev(unsigned n)
{
    static char id[DEVID_LEN + 1];
    (void)snprintf(id, sizeof id, "device%026u", n);
    return id;
}

static void admit(struct fixture *fx, unsigned n, int64_t seen_at)
{
    struct sql_query q;
    sql_begin(&q, fx->db,
              "INSERT INTO device (id, zone, state, admitted_at, seen_at)"
              " VALUES ($1, $2, 'active', $3, $3) ON CONFLICT (id) DO NOTHING");
    sql_bind_text(&q, 1, dev(n));
    sql_bind_text(&q, 2, ZONE);
    sql_bind_int(&q, 3, seen_at);
    assert_int_equal(sql_end(&q, NULL, NULL), ERR_OK);
}

/* A request of device `n`, placed in the queue. Returns the order's number. */
static int64_t ask(struct fixture *fx, unsigned n, const char *issuer, int64_t now_s)
{
    struct order_row r = { .zone = ZONE };
    const struct order_csr csr = { .der = { (const uint8_t *)"csr", 3 } };
    enum order_submit out = ORDER_SUBMIT_TOO_MANY;
    struct err_info info = { "" };
    uint64_t unique = (uint64_t)n << 32 | (uint64_t)(now_s - NOW + 1000000000);
    (void)snprintf(r.device_id, sizeof r.device_id, "%s", dev(n));
    (void)snprintf(r.issuer, sizeof r.issuer, "%s", issuer);
    memcpy(r.csr_sha256, &unique, sizeof unique);
    memcpy(r.spki_sha256 + 24, &unique, sizeof unique);
    admit(fx, n, now_s);
    if (order_submit(fx->db, &r, &csr, 100, &POLICY, now_s, &out, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_int_equal(out, ORDER_SUBMIT_QUEUED);
    return r.id;
}

/* A certificate of device `n` that runs from `from` to `until`; window 0, 0: none. */
static void has(struct fixture *fx, unsigned n, const char *issuer, int64_t from, int64_t until,
                int64_t window_start, int64_t window_end)
{
    struct current_row row = { .zone = ZONE,
                               .order_id = 1,
                               .ari_id = "ari",
                               .account = "account",
                               .renewal = { .not_before = from,
                                            .not_after = until,
                                            .window_start = window_start,
                                            .window_end = window_end,
                                            .poll_at = NOW } };
    (void)snprintf(row.device_id, sizeof row.device_id, "%s", dev(n));
    (void)snprintf(row.issuer, sizeof row.issuer, "%s", issuer);
    assert_int_equal(current_put(fx->db, &row, NULL), ERR_OK);
}

struct taken {
    size_t n;
    struct order_row row[QUEUE_CLAIM_MAX];
};

static void take(void *arg, const struct order_row *row)
{
    struct taken *t = arg;
    t->row[t->n++] = *row;
}

static struct queue_issuer ca(const char *name)
{
    return (struct queue_issuer){ .name = name, .zones = { ZONE }, .n_zones = 1, .room = 1000 };
}

/* Claims from one CA; returns when more may be due. */
static int64_t claim(struct fixture *fx, struct queue_issuer *is, int64_t now_s, size_t max,
                     struct taken *out)
{
    struct order_lease lease = { "node", now_s, now_s + 900 };
    struct err_info info = { "" };
    int64_t next = 0;
    out->n = 0;
    if (queue_claim(fx->db, is, 1, now_s, &lease, max, take, out, &next, &info) != ERR_OK)
        fail_msg("%s", info.text);
    return next;
}

static struct taken got; /* large */

static void lanes_by_urgency_then_deadline(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    /* asked in the opposite order */
    (void)ask(fx, 1, "a", NOW); /* new */
    has(fx, 2, "a", NOW - 60 * DAY, NOW + 30 * DAY, NOW - DAY, NOW + 2 * DAY);
    (void)ask(fx, 2, "a", NOW); /* renewal, window ends in two days */
    has(fx, 3, "a", NOW - 60 * DAY, NOW + 30 * DAY, NOW - DAY, NOW + DAY);
    (void)ask(fx, 3, "a", NOW); /* renewal, window ends in a day */
    has(fx, 4, "a", NOW - 80 * DAY, NOW + 10 * DAY, 0, 0);
    (void)ask(fx, 4, "a", NOW); /* little life left */
    has(fx, 5, "a", NOW - 85 * DAY, NOW + 5 * DAY, 0, 0);
    (void)ask(fx, 5, "a", NOW); /* less */
    (void)claim(fx, &is, NOW, 3, &got);
    assert_int_equal(got.n, 3);
    assert_string_equal(got.row[0].device_id, dev(5));
    assert_string_equal(got.row[1].device_id, dev(4));
    assert_string_equal(got.row[2].device_id, dev(3));
    assert_int_equal(got.row[0].state, ORDER_ORDERING);
    assert_int_equal(got.row[0].lane, LANE_EMERGENCY);
    assert_string_equal(got.row[2].replaces, "ari");
    assert_string_equal(got.row[2].replaces_account, "account");
    (void)claim(fx, &is, NOW, 10, &got);
    assert_int_equal(got.n, 2);
    assert_string_equal(got.row[0].device_id, dev(2));
    assert_string_equal(got.row[1].device_id, dev(1));
    assert_string_equal(got.row[1].replaces, "");
}

static void an_empty_bucket_holds_its_own_back_only(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    is.limit[BUCKET_ORDERS] = (struct bucket_limit){ 2, 3600 };
    for (unsigned n = 1; n <= 5; n++)
        (void)ask(fx, n, "a", NOW);
    has(fx, 9, "a", NOW - 60 * DAY, NOW + 30 * DAY, NOW - DAY, NOW + DAY);
    (void)ask(fx, 9, "a", NOW);
    int64_t next = claim(fx, &is, NOW, 10, &got);
    assert_int_equal(got.n, 3); /* the renewal, which is exempt, and two new ones */
    assert_int_equal(next, NOW + 1800);
    for (size_t i = 0; i < got.n; i++)
        assert_int_equal(order_save(fx->db, &got.row[i], NOW + 9 * DAY, NOW, NULL), ERR_OK);
    next = claim(fx, &is, NOW + 900, 10, &got);
    assert_int_equal(got.n, 0);
    assert_int_equal(next, NOW + 1800);
    (void)claim(fx, &is, NOW + 1800, 10, &got);
    assert_int_equal(got.n, 1);
}

static void renewals_leave_a_tenth_for_people(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    is.limit[BUCKET_ORDERS] = (struct bucket_limit){ 20, 3600 };
    for (unsigned n = 1; n <= 30; n++) { /* of another CA: they count as new here */
        has(fx, n, "b", NOW - 60 * DAY, NOW + 30 * DAY, 0, 0);
        (void)ask(fx, n, "a", NOW);
    }
    (void)claim(fx, &is, NOW, 60, &got);
    assert_int_equal(got.n, 18);
    for (unsigned n = 101; n <= 105; n++)
        (void)ask(fx, n, "a", NOW);
    (void)claim(fx, &is, NOW, 60, &got);
    assert_int_equal(got.n, 2);
    assert_int_equal(got.row[0].lane, LANE_NEW);
}

static void the_same_names_wait_alone(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    is.limit[BUCKET_SET] = (struct bucket_limit){ 1, 7 * DAY };
    (void)ask(fx, 1, "a", NOW);
    (void)claim(fx, &is, NOW, 10, &got);
    assert_int_equal(got.n, 1);
    got.row[0].state = ORDER_INVALID;
    assert_int_equal(order_save(fx->db, &got.row[0], 0, NOW, NULL), ERR_OK);
    int64_t id = ask(fx, 1, "a", NOW + 1); /* again, against the limit of its names */
    (void)ask(fx, 2, "a", NOW + 2);
    (void)claim(fx, &is, NOW + 10, 10, &got);
    assert_int_equal(got.n, 1);
    assert_string_equal(got.row[0].device_id, dev(2));
    struct order_row row;
    assert_int_equal(order_get(fx->db, id, &row, NULL), ERR_OK);
    assert_string_equal(row.problem, "rate-limited");
    assert_int_equal(row.due_at, NOW + 7 * DAY);
    /* what came to nothing is given back */
    struct order_row paid = row;
    assert_int_equal(queue_refund(fx->db, &paid, is.limit, QUEUE_PAID(BUCKET_SET), NULL), ERR_OK);
    row.due_at = NOW + 20;
    assert_int_equal(order_save(fx->db, &row, 0, NOW, NULL), ERR_OK);
    (void)claim(fx, &is, NOW + 20, 10, &got);
    assert_int_equal(got.n, 1);
}

static void inside_its_window_a_renewal_pays_nothing(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    struct ledger_key key = { "a", BUCKET_SET, dev(1) };
    int64_t tat = 0;
    is.limit[BUCKET_SET] = (struct bucket_limit){ 5, 7 * DAY };
    has(fx, 1, "a", NOW - 60 * DAY, NOW + 30 * DAY, NOW - 10, NOW + 10);
    (void)ask(fx, 1, "a", NOW);
    (void)claim(fx, &is, NOW, 10, &got);
    assert_int_equal(got.n, 1);
    assert_int_equal(got.row[0].paid, 0);
    assert_int_equal(ledger_get(fx->db, &key, &tat, NULL), ERR_OK);
    assert_int_equal(tat, 0);
    /* one second after its end it counts as any other with the same names */
    has(fx, 2, "a", NOW - 60 * DAY, NOW + 30 * DAY, NOW - 10, NOW + 10);
    (void)ask(fx, 2, "a", NOW);
    (void)claim(fx, &is, NOW + 10, 10, &got);
    assert_int_equal(got.n, 1);
    assert_int_equal(got.row[0].paid, QUEUE_PAID(BUCKET_SET));
}

static void retry_after_parks_the_bucket_it_belongs_to(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    struct order_row row;
    is.limit[BUCKET_ORDERS] = (struct bucket_limit){ 300, 10800 };
    int64_t id = ask(fx, 1, "a", NOW);
    assert_int_equal(order_get(fx->db, id, &row, NULL), ERR_OK);
    assert_int_equal(queue_park(fx->db, &row, BUCKET_ORDERS, is.limit, NOW + 600, NULL), ERR_OK);
    has(fx, 2, "a", NOW - 60 * DAY, NOW + 30 * DAY, NOW - DAY, NOW + DAY);
    (void)ask(fx, 2, "a", NOW);
    int64_t next = claim(fx, &is, NOW, 10, &got);
    assert_int_equal(got.n, 1); /* renewals go on */
    assert_string_equal(got.row[0].device_id, dev(2));
    assert_int_equal(next, NOW + 600);
    /* the whole account: nothing goes on, not even those */
    assert_int_equal(queue_park(fx->db, &row, BUCKET_ALL, is.limit, NOW + 700, NULL), ERR_OK);
    has(fx, 3, "a", NOW - 60 * DAY, NOW + 30 * DAY, NOW - DAY, NOW + DAY);
    (void)ask(fx, 3, "a", NOW);
    next = claim(fx, &is, NOW + 650, 10, &got);
    assert_int_equal(got.n, 0);
    assert_int_equal(next, NOW + 700);
    (void)claim(fx, &is, NOW + 700, 10, &got);
    assert_int_equal(got.n, 2);
}

static void failed_validations_hold_back_the_name(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    struct order_row row;
    is.limit[BUCKET_FAILURES] = (struct bucket_limit){ 5, 3600 };
    int64_t id = ask(fx, 1, "a", NOW);
    assert_int_equal(order_get(fx->db, id, &row, NULL), ERR_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(queue_count_failure(fx->db, &row, is.limit, NOW, NULL), ERR_OK);
    int64_t next = claim(fx, &is, NOW, 10, &got);
    assert_int_equal(got.n, 0);
    assert_int_equal(next, NOW + 720);
    (void)claim(fx, &is, NOW + 720, 10, &got);
    assert_int_equal(got.n, 1);
}

static void room_bounds_a_claim_and_no_room_takes_nothing(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    for (unsigned n = 1; n <= 5; n++)
        (void)ask(fx, n, "a", NOW);
    is.room = 2;
    (void)claim(fx, &is, NOW, 10, &got);
    assert_int_equal(got.n, 2);
    assert_int_equal(is.room, 0);
    (void)claim(fx, &is, NOW, 10, &got);
    assert_int_equal(got.n, 0);
}

static void overdue_orders_go_to_the_next_ca(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer b = ca("b");
    int64_t moved = 0;
    has(fx, 1, "a", NOW - 60 * DAY, NOW + 30 * DAY, NOW - DAY, NOW + DAY);
    (void)ask(fx, 1, "a", NOW);
    (void)ask(fx, 2, "a", NOW); /* has nothing to lose */
    int64_t danger_at = NOW + 30 * DAY - 90 * DAY / 4;
    assert_int_equal(queue_failover(fx->db, "a", "b", ZONE, danger_at - 1, 3600, 100, &moved, NULL),
                     ERR_OK);
    assert_int_equal(moved, 0);
    assert_int_equal(queue_failover(fx->db, "a", "b", ZONE, danger_at, 3600, 100, &moved, NULL),
                     ERR_OK);
    assert_int_equal(moved, 1);
    (void)claim(fx, &b, danger_at, 10, &got);
    assert_int_equal(got.n, 1);
    assert_string_equal(got.row[0].device_id, dev(1));
    assert_string_equal(got.row[0].issuer, "b");
    assert_string_equal(got.row[0].replaces, ""); /* never across CAs */
    assert_int_equal(got.row[0].lane, LANE_EMERGENCY);
    /* a first certificate follows only when the CA is away */
    assert_int_equal(queue_failover_new(fx->db, "a", "b", ZONE, NOW - 1, 100, &moved, NULL),
                     ERR_OK);
    assert_int_equal(moved, 0);
    assert_int_equal(queue_failover_new(fx->db, "a", "b", ZONE, NOW, 100, &moved, NULL), ERR_OK);
    assert_int_equal(moved, 1);
}

static void without_another_ca_overdue_orders_go_first(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer a = ca("a");
    int64_t moved = 0;
    has(fx, 1, "a", NOW - 60 * DAY, NOW + 30 * DAY, 0, 0);
    (void)ask(fx, 1, "a", NOW);
    assert_int_equal(queue_failover(fx->db, "a", NULL, ZONE, NOW + 20 * DAY, 0, 100, &moved, NULL),
                     ERR_OK);
    assert_int_equal(moved, 1);
    (void)claim(fx, &a, NOW + 20 * DAY, 10, &got);
    assert_int_equal(got.row[0].lane, LANE_EMERGENCY);
    assert_string_equal(got.row[0].replaces, "ari");
}

static void a_claim_that_nobody_heard_of_is_found_again(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    struct order_lease lease = { "node", NOW, 0 }, other = { "other", NOW, 0 };
    for (unsigned n = 1; n <= 3; n++)
        (void)ask(fx, n, "a", NOW);
    (void)claim(fx, &is, NOW, 2, &got);
    struct taken again = { .n = 0 };
    assert_int_equal(queue_claimed(fx->db, &other, 10, take, &again, NULL), ERR_OK);
    assert_int_equal(again.n, 0);
    assert_int_equal(queue_claimed(fx->db, &lease, 10, take, &again, NULL), ERR_OK);
    assert_int_equal(again.n, 2);
}

/* case 40: one device that asks again and again holds nobody up */
static void a_noisy_device_waits_alone(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    size_t noisy = 0, others = 0;
    is.limit[BUCKET_SET] = (struct bucket_limit){ 5, 7 * DAY };
    for (unsigned n = 2; n <= 21; n++)
        (void)ask(fx, n, "a", NOW);
    for (int round = 0; round < 20; round++) {
        (void)ask(fx, 1, "a", NOW + round); /* takes the place of its order before */
        (void)claim(fx, &is, NOW + round, 2, &got);
        for (size_t i = 0; i < got.n; i++) {
            bool is_noisy = strcmp(got.row[i].device_id, dev(1)) == 0;
            noisy += is_noisy;
            others += !is_noisy;
        }
    }
    assert_int_equal(others, 20); /* of 40 places */
    assert_int_equal(noisy, 5);   /* the CA's limit for its names; then it waits by itself */
}

static void an_order_whose_ca_left_begins_anew(void **state)
{
    static const char *const NOW_NAMED[] = { "b", "c" };
    struct fixture *fx = *state;
    struct queue_issuer a = ca("a"), b = ca("b");
    int64_t moved = 0;
    has(fx, 1, "a", NOW - 60 * DAY, NOW + 30 * DAY, NOW - DAY, NOW + DAY);
    (void)ask(fx, 1, "a", NOW);
    (void)ask(fx, 2, "a", NOW);
    (void)ask(fx, 3, "c", NOW); /* still named */
    (void)ask(fx, 4, "a", NOW); /* under way at a living node, and then of a dead one */
    a.room = 1;
    (void)claim(fx, &a, NOW, 1, &got);
    assert_int_equal(got.n, 1);
    assert_int_equal(queue_adopt(fx->db, ZONE, NOW_NAMED, 2, NOW, &moved, NULL), ERR_OK);
    assert_int_equal(moved, 2);
    assert_int_equal(queue_adopt(fx->db, ZONE, NOW_NAMED, 2, NOW + 900, &moved, NULL), ERR_OK);
    assert_int_equal(moved, 1);
    (void)claim(fx, &b, NOW + 900, 10, &got);
    assert_int_equal(got.n, 3);
    for (size_t i = 0; i < got.n; i++) {
        assert_string_equal(got.row[i].issuer, "b");
        assert_string_equal(got.row[i].replaces, ""); /* never across CAs */
        assert_int_equal(got.row[i].state, ORDER_ORDERING);
    }
}

/* How many of what was claimed goes to account `k`. */
static size_t at_account(int64_t k)
{
    size_t n = 0;
    for (size_t i = 0; i < got.n; i++)
        n += got.row[i].account_no == k;
    return n;
}

static void each_account_has_its_own_orders_to_spend(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    is.n_accounts = 3;
    is.limit[BUCKET_ORDERS] = (struct bucket_limit){ 4, 1800 };
    for (unsigned n = 1; n <= 14; n++)
        (void)ask(fx, n, "a", NOW);
    int64_t next = claim(fx, &is, NOW, QUEUE_CLAIM_MAX, &got);
    assert_int_equal(got.n, 12); /* not one account's limit for all, nor one account used twice */
    for (int64_t k = 0; k < 3; k++)
        assert_int_equal(at_account(k), 4);
    assert_int_equal(next, NOW + 450); /* what one order costs */
    (void)claim(fx, &is, NOW + 450, QUEUE_CLAIM_MAX, &got);
    assert_int_equal(got.n, 2);
    /* what one gets back is its own account's */
    struct order_row row = got.row[0];
    assert_int_equal(queue_refund(fx->db, &row, is.limit, QUEUE_PAID(BUCKET_ORDERS), NULL), ERR_OK);
    (void)ask(fx, 15, "a", NOW + 450);
    (void)ask(fx, 16, "a", NOW + 450);
    (void)claim(fx, &is, NOW + 450, QUEUE_CLAIM_MAX, &got);
    assert_int_equal(got.n, 2); /* that one, and the third account's of this quarter */
    assert_int_equal(at_account(row.account_no), 1);
}

static void a_closed_account_leaves_the_others_open(void **state)
{
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    char first[] = "https://ca/1", second[] = "account"; /* the latter as has() has it */
    is.n_accounts = 2;
    is.account[0] = first;
    is.account[1] = second;
    is.limit[BUCKET_ORDERS] = (struct bucket_limit){ 100, 3600 };
    struct order_row row = { .issuer = "a", .zone = ZONE, .account_no = 1 };
    assert_int_equal(queue_park(fx->db, &row, BUCKET_ALL, is.limit, NOW + 600, NULL), ERR_OK);
    has(fx, 1, "a", NOW - 60 * DAY, NOW + 30 * DAY, NOW - DAY, NOW + DAY);
    for (unsigned n = 1; n <= 5; n++)
        (void)ask(fx, n, "a", NOW);
    (void)claim(fx, &is, NOW, QUEUE_CLAIM_MAX, &got);
    assert_int_equal(got.n, 4);
    assert_int_equal(at_account(0), 4);
    for (size_t i = 0; i < got.n; i++) /* the renewal waits for the account of its certificate */
        assert_string_not_equal(got.row[i].device_id, dev(1));
    (void)claim(fx, &is, NOW + 600, QUEUE_CLAIM_MAX, &got);
    assert_int_equal(got.n, 1);
    assert_int_equal(at_account(1), 1);
}

static void a_limit_that_is_reopened_lets_waiting_orders_go(void **state)
{
    static const struct {
        const char *why, *issuer, *bucket, *zone;
        enum bucket_kind kind;
        bool was_there;
        size_t taken;
    } CASES[] = {
        { "of another CA", "b", "", "", BUCKET_ORDERS, false, 0 },
        { "of another kind, so that its own keeps it back", "a", "", "", BUCKET_ALL, false, 0 },
        { "of another zone", "a", "other.example", "other.example", BUCKET_DOMAIN, false, 0 },
        { "the one that is closed", "a", "", "", BUCKET_ORDERS, true, 2 },
    };
    struct fixture *fx = *state;
    struct queue_issuer is = ca("a");
    is.limit[BUCKET_ORDERS] = (struct bucket_limit){ 300, 10800 };
    (void)ask(fx, 1, "a", NOW);
    (void)claim(fx, &is, NOW, 10, &got);
    assert_int_equal(got.n, 1);
    struct order_row row = got.row[0]; /* as the engine does when the CA answers 429 */
    row.state = ORDER_QUEUED;
    row.due_at = NOW + DAY;
    (void)snprintf(row.problem, sizeof row.problem, "rateLimited");
    assert_int_equal(order_save(fx->db, &row, 0, NOW, NULL), ERR_OK);
    assert_int_equal(queue_park(fx->db, &row, BUCKET_ORDERS, is.limit, NOW + DAY, NULL), ERR_OK);
    (void)ask(fx, 2, "a", NOW);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct ledger_key key = { CASES[i].issuer, CASES[i].kind, CASES[i].bucket };
        bool was_there = !CASES[i].was_there;
        int64_t woken;
        assert_int_equal(
            queue_reopen(fx->db, &key, CASES[i].zone, "", NOW + 1, &was_there, &woken, NULL),
            ERR_OK);
        (void)claim(fx, &is, NOW + 1, 10, &got);
        if (got.n != CASES[i].taken || was_there != CASES[i].was_there)
            fail_msg("%s: %zu were taken", CASES[i].why, got.n);
    }
}

/* Many orders of the past and many that wait, by one statement. */
static void fill_the_queue(struct fixture *fx)
{
    struct err_info info = { "" };
    static const char TEXT[] =
        "INSERT INTO cert_order (device_id, zone, issuer, state, csr, csr_sha256, spki_sha256,"
        " bare_name, due_at, begun_at, created_at, updated_at, deadline_at, lane)"
        " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
        " SELECT 'device' || i, 'direct.example', 'a', CASE WHEN i % 4 = 0 THEN 'queued' ELSE"
        " 'valid' END, '', '', '', 0, i, i, i, i, i, i % 3 FROM n";
    if (sql_script(fx->db, TEXT, &info) != ERR_OK || sql_script(fx->db, "ANALYZE", &info) != ERR_OK)
        fail_msg("%s", info.text);
}

/* However many wait, the next one is found by an index, in order: nothing is read through or
 * sorted. */
static void a_claim_reads_an_index(void **state)
{
    struct fixture *fx = *state;
    bool postgres = store_postgres() != NULL, by_index = false;
    char text[1024], plan[4096] = "";
    struct sql_query q;
    fill_the_queue(fx);
    (void)snprintf(text, sizeof text, "%s%s", postgres ? "EXPLAIN " : "EXPLAIN QUERY PLAN ",
                   QUEUE_SELECT_HEAD);
    sql_begin(&q, fx->db, text);
    sql_bind_text(&q, 1, "a");
    sql_bind_text(&q, 2, ZONE);
    sql_bind_int(&q, 3, 1);
    sql_bind_int(&q, 4, 2);
    sql_bind_int(&q, 5, 64);
    while (sql_row(&q)) {
        const char *line = sql_text(&q, postgres ? 0 : 3);
        by_index = by_index || strstr(line, "cert_order_lane") != NULL;
        (void)snprintf(plan + strlen(plan), sizeof plan - strlen(plan), "%s\n", line);
    }
    assert_int_equal(sql_end(&q, NULL, NULL), ERR_OK);
    if (!by_index || strstr(plan, "Sort") != NULL || strstr(plan, "TEMP B-TREE") != NULL ||
        strstr(plan, "Seq Scan") != NULL || strstr(plan, "SCAN") != NULL)
        fail_msg("the plan is\n%s", plan);
}

/* --- the ledger --- */

static void full_buckets_are_forgotten(void **state)
{
    struct fixture *fx = *state;
    const struct bucket_limit l = { 5, 3600 };
    struct ledger_key key = { "a", BUCKET_SET, "one" }, other = { "a", BUCKET_SET, "two" };
    bool spent;
    int64_t tat;
    assert_int_equal(ledger_spend(fx->db, &key, l, 0, NOW * US, &spent, NULL), ERR_OK);
    assert_true(spent);
    assert_int_equal(ledger_spend(fx->db, &other, l, 0, (NOW + 100) * US, &spent, NULL), ERR_OK);
    assert_int_equal(ledger_prune(fx->db, (NOW + 720) * US, 100, NULL), ERR_OK);
    assert_int_equal(ledger_get(fx->db, &key, &tat, NULL), ERR_OK);
    assert_int_equal(tat, 0);
    assert_int_equal(ledger_get(fx->db, &other, &tat, NULL), ERR_OK);
    assert_int_equal(tat, (NOW + 820) * US);
}

struct node {
    const char *url;
    int64_t now_us;
    int64_t spent, failed;
};

static enum err spend_one(void *arg, struct sql *db, struct err_info *info)
{
    struct node *n = arg;
    const struct bucket_limit l = { 100, 3600 };
    struct ledger_key key = { "a", BUCKET_ORDERS, "" };
    bool spent = false;
    enum err e = ledger_spend(db, &key, l, 0, n->now_us, &spent, info);
    return e != ERR_OK ? e : spent ? ERR_OK : ERR_LIMIT;
}

/* The child: says how many it got, and how often the database refused. */
static void hammer(struct node *n, int go, int report)
{
    struct sql *db = NULL;
    struct err_info info;
    char start;
    bool opened = sql_open(&db, n->url, &info) == ERR_OK;
    if (read(go, &start, 1) < 0) /* all begin when the parent closes its end */
        _exit(1);
    for (int i = 0; i < 40; i++) {
        enum err e = opened ? sql_transact(db, spend_one, n, &info) : ERR_IO;
        n->spent += e == ERR_OK;
        n->failed += e != ERR_OK && e != ERR_LIMIT;
    }
    sql_close(db);
    int64_t counts[2] = { n->spent, n->failed };
    _exit(write(report, counts, sizeof counts) == sizeof counts ? 0 : 1);
}

/* Eight processes ask for 320 where 100 are left. */
static void eight_nodes_never_exceed_a_bucket(void **state)
{
    struct fixture *fx = *state;
    enum { N = 8 };
    int go[2], report[2];
    pid_t pids[N];
    int64_t spent = 0, failed = 0, counts[2];
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(report), 0);
    for (unsigned i = 0; i < N; i++) {
        struct node node = { fx->url, NOW * US, 0, 0 };
        pids[i] = fork();
        assert_int_not_equal(pids[i], -1);
        if (pids[i] == 0) {
            close(go[1]);
            hammer(&node, go[0], report[1]);
        }
    }
    close(go[1]);
    for (unsigned i = 0; i < N; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
        assert_int_equal(read(report[0], counts, sizeof counts), sizeof counts);
        spent += counts[0];
        failed += counts[1];
    }
    close(go[0]);
    close(report[0]);
    close(report[1]);
    assert_in_range(spent, failed == 0 ? 100 : 1, 100);
    assert_in_range(failed, 0, 100); /* a loaded database may refuse; it never gives too much */
}

/* case 24: whatever the clock does, a bucket gives no more than its count at once, and is open
 * again a day and a period after. */
static void buckets_outlive_jumps_of_the_clock(void **state)
{
    static const struct {
        const char *why;
        int64_t jump_s, closed_s; /* the clock shows so much more; then it is right again */
    } CASES[] = {
        { "an hour ahead, then back", 3600, 3600 + 36 },
        { "a day ahead, then back", DAY, DAY + 36 },
        { "ten years ahead, then back", 3650 * DAY, DAY + 36 },
        { "an hour behind, then right", -3600, 36 },
        { "a day behind, then right", -DAY, 36 },
    };
    struct fixture *fx = *state;
    struct bucket_limit limits[BUCKET_KIND_N] = { [BUCKET_ORDERS] = { 100, 3600 } };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char issuer[8];
        struct ledger_key key = { issuer, BUCKET_ORDERS, "" };
        int64_t n = 0, tat;
        bool spent = true;
        (void)snprintf(issuer, sizeof issuer, "ca%zu", i);
        while (spent) {
            assert_int_equal(ledger_spend(fx->db, &key, limits[BUCKET_ORDERS], 0,
                                          (NOW + CASES[i].jump_s) * US, &spent, NULL),
                             ERR_OK);
            n += spent;
        }
        assert_int_equal(n, 100);
        assert_int_equal(ledger_clock_back(fx->db, issuer, limits, NOW * US, NULL), ERR_OK);
        assert_int_equal(ledger_get(fx->db, &key, &tat, NULL), ERR_OK);
        int64_t wait_s = bucket_wait_us(tat, limits[BUCKET_ORDERS], 0, NOW * US) / US;
        if (wait_s > CASES[i].closed_s)
            fail_msg("%s: closed for %lld s", CASES[i].why, (long long)wait_s);
    }
}

/* --- present certificates --- */

struct polled {
    size_t n;
    struct current_row row[8];
};

static void poll_one(void *arg, const struct current_row *row)
{
    struct polled *p = arg;
    p->row[p->n++] = *row;
}

static size_t polls(struct fixture *fx, int64_t now_s, int64_t seen_after, struct polled *p)
{
    struct err_info info = { "" };
    p->n = 0;
    if (current_claim(fx->db, "a", now_s, now_s + 600, seen_after, 8, poll_one, p, &info) != ERR_OK)
        fail_msg("%s", info.text);
    return p->n;
}

static void windows_of_active_devices_are_asked_for(void **state)
{
    struct fixture *fx = *state;
    struct polled p;
    for (unsigned n = 1; n <= 2; n++) {
        int64_t seen = n == 1 ? NOW : NOW - 40 * DAY;
        admit(fx, n, seen);
        has(fx, n, "a", NOW - DAY, NOW + 89 * DAY, 0, 0);
    }
    assert_int_equal(polls(fx, NOW, NOW - 30 * DAY, &p), 1);
    assert_string_equal(p.row[0].device_id, dev(1));
    assert_int_equal(polls(fx, NOW, NOW - 30 * DAY, &p), 0); /* another node has it */
    p.row[0].renewal.window_start = NOW + 60 * DAY;
    p.row[0].renewal.window_end = NOW + 61 * DAY;
    p.row[0].renewal.poll_at = NOW + 21600;
    (void)strcpy(p.row[0].explanation, "https://ca.example/why");
    assert_int_equal(current_save(fx->db, &p.row[0], NULL), ERR_OK);
    assert_int_equal(polls(fx, NOW + 21600, NOW - 30 * DAY, &p), 1);
    assert_int_equal(p.row[0].renewal.window_end, NOW + 61 * DAY);
    assert_string_equal(p.row[0].explanation, "https://ca.example/why");
    /* the one that was away comes back */
    struct current_row row;
    assert_int_equal(current_get(fx->db, dev(2), ZONE, &row, NULL), ERR_OK);
    assert_int_equal(row.renewal.poll_at, 0);
    assert_int_equal(current_resume(fx->db, &row, NOW + 21600, NULL), ERR_OK);
    assert_int_equal(polls(fx, NOW + 21600, NOW - 50 * DAY, &p), 1);
    assert_string_equal(p.row[0].device_id, dev(2));
}

static void the_longest_waiting_question_is_known(void **state)
{
    struct fixture *fx = *state;
    struct polled p;
    int64_t due_at = 7;
    admit(fx, 1, NOW);
    has(fx, 1, "a", NOW - DAY, NOW + 89 * DAY, 0, 0);
    has(fx, 2, "gone", NOW - DAY, NOW + 89 * DAY, 0, 0); /* no longer configured */
    assert_int_equal(current_poll_due(fx->db, "a", &due_at, NULL), ERR_OK);
    assert_int_equal(due_at, NOW);
    assert_int_equal(polls(fx, NOW, 0, &p), 1);
    assert_int_equal(current_poll_due(fx->db, "a", &due_at, NULL), ERR_OK);
    assert_int_equal(due_at, NOW + 600); /* until the lease ends nobody else asks */
    assert_int_equal(current_poll_due(fx->db, "b", &due_at, NULL), ERR_OK);
    assert_int_equal(due_at, 0);
}

static void what_was_replaced_or_ended_is_not_asked_about(void **state)
{
    struct fixture *fx = *state;
    struct polled p;
    struct current_row row;
    admit(fx, 1, NOW);
    has(fx, 1, "a", NOW - 91 * DAY, NOW - DAY, 0, 0);
    assert_int_equal(polls(fx, NOW, 0, &p), 0);
    assert_int_equal(current_get(fx->db, dev(1), ZONE, &row, NULL), ERR_OK);
    assert_int_equal(row.renewal.poll_at, 0);
    /* a late answer about the certificate before changes nothing of the present one */
    row.order_id = 2;
    row.renewal.not_after = NOW + 90 * DAY;
    row.renewal.poll_at = NOW;
    assert_int_equal(current_put(fx->db, &row, NULL), ERR_OK);
    row.order_id = 1;
    row.renewal.window_end = 77;
    assert_int_equal(current_save(fx->db, &row, NULL), ERR_OK);
    assert_int_equal(current_put(fx->db, &row, NULL), ERR_OK); /* nor is it put back */
    assert_int_equal(current_get(fx->db, dev(1), ZONE, &row, NULL), ERR_OK);
    assert_int_equal(row.renewal.window_end, 0);
    assert_int_equal(row.order_id, 2);
}

static void an_alarm_wakes_the_neighbours(void **state)
{
    struct fixture *fx = *state;
    struct polled p;
    for (unsigned n = 1; n <= 3; n++) {
        admit(fx, n, NOW);
        int64_t from = n == 3 ? NOW - 2 * DAY : NOW - DAY;
        has(fx, n, "a", from, from + 90 * DAY, NOW + DAY, NOW + 2 * DAY);
    }
    assert_int_equal(polls(fx, NOW, 0, &p), 3);
    for (size_t i = 0; i < 3; i++) {
        p.row[i].renewal.poll_at = NOW + 21600;
        assert_int_equal(current_save(fx->db, &p.row[i], NULL), ERR_OK);
    }
    assert_int_equal(polls(fx, NOW + 60, 0, &p), 0);
    assert_int_equal(current_alarm(fx->db, "a", NOW - DAY - 10, NOW - DAY + 10, NOW + 60, NULL),
                     ERR_OK);
    assert_int_equal(polls(fx, NOW + 60, 0, &p), 2);
}

static void a_clock_set_back_pulls_questions_in(void **state)
{
    static const struct {
        const char *why;
        int64_t poll_in_s, least_s, most_s; /* after it */
    } CASES[] = {
        { "due", -5, -5, -5 },
        { "within a day: as the CA asked", 21600, 21600, 21600 },
        { "a year away", 365 * DAY, 0, DAY },
        { "two days away", 2 * DAY + 7, 0, DAY },
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct current_row row;
        has(fx, 1, "a", NOW - DAY, NOW + 89 * DAY, 0, 0);
        assert_int_equal(current_get(fx->db, dev(1), ZONE, &row, NULL), ERR_OK);
        row.renewal.poll_at = NOW + CASES[i].poll_in_s;
        assert_int_equal(current_save(fx->db, &row, NULL), ERR_OK);
        assert_int_equal(current_clock_back(fx->db, "b", NOW, NULL), ERR_OK); /* another's */
        assert_int_equal(current_clock_back(fx->db, "a", NOW, NULL), ERR_OK);
        assert_int_equal(current_get(fx->db, dev(1), ZONE, &row, NULL), ERR_OK);
        int64_t in_s = row.renewal.poll_at - NOW;
        if (in_s < CASES[i].least_s || in_s > CASES[i].most_s)
            fail_msg("%s: asked in %lld s", CASES[i].why, (long long)in_s);
    }
}

static void add_day(void *arg, int64_t day, int64_t n)
{
    int64_t *days = arg;
    assert_in_range(day, 0, 9);
    days[day] = n;
}

static void renewals_are_foreseen_by_the_day(void **state)
{
    static const struct {
        const char *why;
        int64_t due_in_s, seen_s_ago;
        int day; /* -1: not counted */
    } CASES[] = {
        { "due already", -DAY, 0, 0 }, { "within a day", DAY - 1, 0, 0 },
        { "tomorrow", DAY, 0, 1 },     { "on the last day", 10 * DAY - 1, 0, 9 },
        { "later", 10 * DAY, 0, -1 },  { "of a device that is gone", DAY, 31 * DAY, -1 },
    };
    struct fixture *fx = *state;
    int64_t want[10] = { 0 }, got_days[10] = { 0 };
    for (unsigned i = 0; i < ARRAY_LEN(CASES); i++) {
        struct current_row row;
        admit(fx, i, NOW - CASES[i].seen_s_ago);
        has(fx, i, "a", NOW - 60 * DAY, NOW + 30 * DAY, 0, 0);
        assert_int_equal(current_get(fx->db, dev(i), ZONE, &row, NULL), ERR_OK);
        row.renewal.chosen_at = NOW + CASES[i].due_in_s;
        assert_int_equal(current_save(fx->db, &row, NULL), ERR_OK);
        if (CASES[i].day >= 0)
            want[CASES[i].day]++;
    }
    assert_int_equal(
        current_forecast(fx->db, "a", NOW, 10, NOW - 30 * DAY, add_day, got_days, NULL), ERR_OK);
    assert_memory_equal(got_days, want, sizeof want);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lanes_by_urgency_then_deadline),
        TEST(an_empty_bucket_holds_its_own_back_only),
        TEST(renewals_leave_a_tenth_for_people),
        TEST(the_same_names_wait_alone),
        TEST(inside_its_window_a_renewal_pays_nothing),
        TEST(retry_after_parks_the_bucket_it_belongs_to),
        TEST(failed_validations_hold_back_the_name),
        TEST(room_bounds_a_claim_and_no_room_takes_nothing),
        TEST(overdue_orders_go_to_the_next_ca),
        TEST(without_another_ca_overdue_orders_go_first),
        TEST(a_claim_that_nobody_heard_of_is_found_again),
        TEST(a_noisy_device_waits_alone),
        TEST(an_order_whose_ca_left_begins_anew),
        TEST(each_account_has_its_own_orders_to_spend),
        TEST(a_closed_account_leaves_the_others_open),
        TEST(a_limit_that_is_reopened_lets_waiting_orders_go),
        TEST(a_claim_reads_an_index),
        TEST(full_buckets_are_forgotten),
        TEST(eight_nodes_never_exceed_a_bucket),
        TEST(buckets_outlive_jumps_of_the_clock),
        TEST(windows_of_active_devices_are_asked_for),
        TEST(the_longest_waiting_question_is_known),
        TEST(what_was_replaced_or_ended_is_not_asked_about),
        TEST(an_alarm_wakes_the_neighbours),
        TEST(a_clock_set_back_pulls_questions_in),
        TEST(renewals_are_foreseen_by_the_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
