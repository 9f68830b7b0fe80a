/* Reports and observed addresses, the same on both drivers: see store.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/store/census.h"
#include "provisiond/store/device.h"
#include "provisiond/store/report.h"
#include "tests/lib/storefix.h"

#define ZONE "direct.example"
#define DEV_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DEV_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define DEV_C "cccccccccccccccccccccccccccccccc"
#define NOW 1800000000
#define DAY 86400

static void admit(struct fixture *fx, const char *id)
{
    int64_t token_id;
    enum admission a;
    struct device_request rq = { .id = id, .zone = ZONE, .listed = true };
    memcpy(rq.spki_sha256, id, SPKI_HASH_LEN);
    assert_int_equal(device_admit(fx->db, &rq, NOW, &a, &token_id, NULL), ERR_OK);
    assert_int_equal(a, ADMISSION_FRESH);
}

static void put(struct fixture *fx, const char *id, int64_t at, bool nearby, const char *name)
{
    struct report_row row = { .at = at, .nearby = nearby };
    char body[] = "{}";
    (void)snprintf(row.device, sizeof row.device, "%s", id);
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    row.body = body;
    assert_int_equal(report_put(fx->db, &row, NULL), ERR_OK);
}

static void see(struct fixture *fx, const char *id, const char *address, int64_t at)
{
    struct ip ip;
    assert_true(network_parse(&ip, address));
    assert_int_equal(observed_put(fx->db, id, &ip, at, NULL), ERR_OK);
}

static int64_t count(struct fixture *fx, const char *text)
{
    struct sql_query q;
    int64_t n = -1;
    sql_begin(&q, fx->db, text);
    while (sql_row(&q))
        n = sql_int(&q, 0);
    assert_int_equal(sql_end(&q, NULL, NULL), ERR_OK);
    return n;
}

static void the_last_report_counts(void **state)
{
    struct fixture *fx = *state;
    struct report_row row;
    admit(fx, DEV_A);
    assert_int_equal(report_get(fx->db, DEV_A, &row, NULL), ERR_NOTFOUND);
    put(fx, DEV_A, NOW, true, "first");
    put(fx, DEV_A, NOW + 5, false, "Büro");
    assert_int_equal(report_get(fx->db, DEV_A, &row, NULL), ERR_OK);
    assert_string_equal(row.device, DEV_A);
    assert_string_equal(row.zone, ZONE);
    assert_string_equal(row.name, "Büro");
    assert_string_equal(row.body, "{}");
    assert_int_equal(row.at, NOW + 5);
    assert_false(row.nearby);
    report_clear(&row);
    assert_int_equal(count(fx, "SELECT count(*) FROM report"), 1);
}

static void one_address_a_family_and_none_that_is_old(void **state)
{
    struct fixture *fx = *state;
    struct observed_row seen[OBSERVED_MAX];
    size_t n = 9;
    see(fx, DEV_A, "3ffe::1", NOW);
    see(fx, DEV_A, "192.88.99.7", NOW);
    see(fx, DEV_A, "192.88.99.8", NOW + 9);
    see(fx, DEV_B, "192.88.99.9", NOW);
    assert_int_equal(observed_list(fx->db, DEV_A, NOW, seen, &n, NULL), ERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(seen[0].ip.family, 4);
    assert_string_equal(seen[0].address, "192.88.99.8");
    assert_int_equal(seen[0].at, NOW + 9);
    assert_int_equal(seen[1].ip.family, 6);
    assert_string_equal(seen[1].address, "3ffe::1");
    assert_int_equal(observed_list(fx->db, DEV_A, NOW + 1, seen, &n, NULL), ERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(observed_list(fx->db, DEV_A, NOW + 10, seen, &n, NULL), ERR_OK);
    assert_int_equal(n, 0);
}

struct found {
    size_t n;
    char ids[8][DEVID_LEN + 1];
};

static void add(void *arg, struct report_row *row)
{
    struct found *f = arg;
    assert_string_equal(row->zone, ZONE);
    assert_string_equal(row->body, "{}");
    memcpy(f->ids[f->n++], row->device, sizeof row->device);
}

static struct found near(struct fixture *fx, const char *network, int64_t since, int64_t max)
{
    struct found f = { .n = 0 };
    assert_int_equal(report_each_near(fx->db, network, since, max, add, &f, NULL), ERR_OK);
    return f;
}

static void neighbours_share_an_address_or_a_prefix(void **state)
{
    struct fixture *fx = *state;
    admit(fx, DEV_A);
    admit(fx, DEV_B);
    admit(fx, DEV_C);
    put(fx, DEV_A, NOW, true, "");
    put(fx, DEV_B, NOW + 1, true, "");
    put(fx, DEV_C, NOW + 2, false, ""); /* does not want to be found */
    see(fx, DEV_A, "192.88.99.7", NOW);
    see(fx, DEV_B, "192.88.99.7", NOW);
    see(fx, DEV_C, "192.88.99.7", NOW);
    see(fx, DEV_A, "3ffe:1:2:3:aaaa::1", NOW);
    see(fx, DEV_B, "3ffe:1:2:4:aaaa::1", NOW);
    struct found f = near(fx, "192.88.99.7", NOW, 8);
    assert_int_equal(f.n, 2);
    assert_string_equal(f.ids[0], DEV_B);
    assert_string_equal(f.ids[1], DEV_A);
    assert_int_equal(near(fx, "192.88.99.7", NOW, 1).n, 1);
    assert_int_equal(near(fx, "192.88.99.8", NOW, 8).n, 0);
    f = near(fx, "3ffe:1:2:3::/64", NOW, 8);
    assert_int_equal(f.n, 1);
    assert_string_equal(f.ids[0], DEV_A);
    assert_int_equal(near(fx, "192.88.99.7", NOW + 1, 8).n, 0); /* seen there before that */
    see(fx, DEV_B, "192.88.99.8", NOW + 2);                     /* it moved */
    assert_int_equal(near(fx, "192.88.99.7", NOW, 8).n, 1);
}

static void who_is_suspended_or_gone_is_not_shown(void **state)
{
    struct fixture *fx = *state;
    struct report_row row;
    admit(fx, DEV_A);
    put(fx, DEV_A, NOW, true, "");
    see(fx, DEV_A, "192.88.99.7", NOW);
    assert_int_equal(near(fx, "192.88.99.7", NOW, 8).n, 1);
    assert_int_equal(device_set_state(fx->db, DEV_A, DEVICE_SUSPENDED, NOW, NULL), ERR_OK);
    assert_int_equal(near(fx, "192.88.99.7", NOW, 8).n, 0);
    assert_int_equal(report_get(fx->db, DEV_A, &row, NULL), ERR_NOTFOUND);
    assert_int_equal(device_set_state(fx->db, DEV_A, DEVICE_ACTIVE, NOW, NULL), ERR_OK);
    assert_int_equal(near(fx, "192.88.99.7", NOW, 8).n, 1);
    assert_int_equal(device_set_state(fx->db, DEV_A, DEVICE_FORGOTTEN, NOW, NULL), ERR_OK);
    assert_int_equal(count(fx, "SELECT count(*) FROM report"), 0);
    assert_int_equal(count(fx, "SELECT count(*) FROM observed"), 0);
}

static void those_that_report_are_counted(void **state)
{
    struct fixture *fx = *state;
    struct census c;
    put(fx, DEV_A, NOW, true, "");
    put(fx, DEV_B, NOW + 1, true, "");
    assert_int_equal(census_take(fx->db, NOW + 2 * REPORT_EVERY_S, &c, NULL), ERR_OK);
    assert_int_equal(c.reporting, 2);
    assert_int_equal(census_take(fx->db, NOW + 2 * REPORT_EVERY_S + 1, &c, NULL), ERR_OK);
    assert_int_equal(c.reporting, 1);
}

static void old_ones_go_piece_by_piece(void **state)
{
    struct fixture *fx = *state;
    int64_t n = 0;
    put(fx, DEV_A, NOW, true, "");
    put(fx, DEV_B, NOW, true, "");
    put(fx, DEV_C, NOW + DAY, true, "");
    see(fx, DEV_A, "192.88.99.7", NOW);
    see(fx, DEV_A, "3ffe::1", NOW + DAY);
    see(fx, DEV_C, "192.88.99.7", NOW + DAY);
    assert_int_equal(report_prune(fx->db, NOW, 8, &n, NULL), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(report_prune(fx->db, NOW + 1, 1, &n, NULL), ERR_OK);
    assert_int_equal(n, 2); /* a report and an address */
    assert_int_equal(report_prune(fx->db, NOW + 1, 8, &n, NULL), ERR_OK);
    assert_int_equal(n, 3);
    assert_int_equal(count(fx, "SELECT count(*) FROM report"), 1);
    assert_int_equal(count(fx, "SELECT count(*) FROM observed"), 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_report_counts),
        TEST(one_address_a_family_and_none_that_is_old),
        TEST(neighbours_share_an_address_or_a_prefix),
        TEST(who_is_suspended_or_gone_is_not_shown),
        TEST(those_that_report_are_counted),
        TEST(old_ones_go_piece_by_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
