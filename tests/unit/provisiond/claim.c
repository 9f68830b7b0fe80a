#include "provisiond/claim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/base/clock.h"
#include "provisiond/store/node.h"
#include "tests/lib/storefix.h"

#define ZONE "direct.example"
#define DEVICE "devicedevicedevicedevicedevice22"

/* A zone whose orders were at "old", and which now names "new" alone. */
static void configure(struct config *c)
{
    static char new_name[] = "new", zone[] = ZONE;
    c->n_issuers = 1;
    c->issuers[0].name = new_name;
    c->n_zones = 1;
    c->zones[0].name = zone;
    c->zones[0].n_issuers = 1;
}

static void take(void *arg, const struct order_row *row)
{
    *(struct order_row *)arg = *row;
}

/* An order under way at `issuer`, held by node "other" for `lease_s`. */
static void order_of_other(struct fixture *fx, const char *issuer, int64_t lease_s)
{
    const struct schedule_policy policy = { 25, true };
    const struct order_csr csr = { .der = { (const uint8_t *)"csr", 3 } };
    int64_t now = clock_now_s(), next = 0;
    struct order_row row = { .device_id = DEVICE, .zone = ZONE };
    struct queue_issuer ca = { .name = issuer, .zones = { ZONE }, .n_zones = 1, .room = 1 };
    struct order_lease lease = { "other", 7, now + lease_s };
    enum order_submit out;
    struct sql_query q;
    (void)snprintf(row.issuer, sizeof row.issuer, "%s", issuer);
    sql_begin(&q, fx->db,
              "INSERT INTO device (id, zone, state, admitted_at, seen_at)"
              " VALUES ($1, $2, 'active', $3, $3)");
    sql_bind_text(&q, 1, DEVICE);
    sql_bind_text(&q, 2, ZONE);
    sql_bind_int(&q, 3, now);
    assert_int_equal(sql_end(&q, NULL, NULL), ERR_OK);
    assert_int_equal(order_submit(fx->db, &row, &csr, 100, &policy, now, &out, NULL), ERR_OK);
    assert_int_equal(queue_claim(fx->db, &ca, 1, now, &lease, 1, take, &row, &next, NULL), ERR_OK);
    assert_int_equal(row.state, ORDER_ORDERING);
}

static void orders_of_others_are_taken_over(void **state)
{
    static const struct {
        const char *why, *issuer;
        int64_t lease_s, seen_s_ago;
        bool look_for_dead, adopt;
        size_t taken;
    } CASES[] = {
        { "alive, and its issuer is ours", "new", 900, 1, true, true, 0 },
        { "alive, though its issuer is none of ours", "old", 900, 1, true, true, 0 },
        { "dead, and its issuer is ours", "new", 900, 60, true, false, 1 },
        { "dead, and its issuer is none of ours", "old", 900, 60, true, false, 1 },
        { "dead, but it is not the moment to look", "old", 900, 60, false, false, 0 },
        { "its lease has ended", "old", -1, 1, false, true, 1 },
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct config config = { .node = NULL };
        struct claim *c;
        configure(&config);
        assert_int_equal(node_touch(fx->db, "other", clock_now_s() - CASES[i].seen_s_ago, NULL),
                         ERR_OK);
        order_of_other(fx, CASES[i].issuer, CASES[i].lease_s);
        c = claim_new(&config);
        assert_non_null(c);
        c->lease = (struct order_lease){ .node = "node", .claim = 8 };
        c->look_for_dead = CASES[i].look_for_dead;
        c->adopt = CASES[i].adopt;
        c->n_issuers = 1;
        c->issuers[0] =
            (struct queue_issuer){ .name = "new", .zones = { ZONE }, .n_zones = 1, .room = 10 };
        if (c->job.run(&c->job, fx->db) != ERR_OK)
            fail_msg("%s: %s", CASES[i].why, c->job.info.text);
        if (c->n_rows != CASES[i].taken)
            fail_msg("%s: %zu orders were taken", CASES[i].why, c->n_rows);
        if (c->n_rows == 1)
            assert_string_equal(c->rows[0].issuer, "new");
        claim_free(c);
        assert_int_equal(sql_script(fx->db, "DELETE FROM cert_order; DELETE FROM device", NULL),
                         ERR_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(orders_of_others_are_taken_over, store_setup,
                                        store_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
