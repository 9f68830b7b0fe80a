/* Pairing codes and viewers: the same on both drivers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/store/device.h"
#include "provisiond/store/pairing.h"
#include "provisiond/store/viewer.h"
#include "tests/lib/storefix.h"

#define DEV_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DEV_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define NOW 1800000000
#define DAY 86400

static struct sql *db_of(void **state)
{
    return ((struct fixture *)*state)->db;
}

static void run(struct sql *db, const char *text)
{
    struct err_info info = { "" };
    if (sql_script(db, text, &info) != ERR_OK)
        fail_msg("%s", info.text);
}

static int setup(void **state)
{
    if (store_setup(state) != 0)
        return -1;
    run(db_of(state), "INSERT INTO device (id, zone, state, admitted_at, seen_at) VALUES"
                      " ('" DEV_A "', 'z', 'active', 1, 1), ('" DEV_B "', 'z', 'active', 1, 1)");
    return 0;
}

static void put(struct sql *db, const char *device, const char *code, int64_t expires_at)
{
    uint8_t hash[PAIRING_HASH_LEN];
    assert_int_equal(pairing_hash(hash, span_str(code)), ERR_OK);
    assert_int_equal(pairing_put(db, device, hash, NOW, expires_at, NULL), ERR_OK);
}

static enum pairing take(struct sql *db, const char *code, int64_t now_s,
                         char device[DEVID_LEN + 1])
{
    uint8_t hash[PAIRING_HASH_LEN];
    enum pairing out = PAIRING_CLOSED;
    device[0] = 0;
    assert_int_equal(pairing_hash(hash, span_str(code)), ERR_OK);
    assert_int_equal(pairing_take(db, hash, now_s, &out, device, NULL), ERR_OK);
    return out;
}

static void a_code_is_good_once_and_for_its_device(void **state)
{
    struct sql *db = db_of(state);
    char device[DEVID_LEN + 1];
    put(db, DEV_A, "AAAA-AAAA", NOW + 600);
    put(db, DEV_B, "BBBB-BBBB", NOW + 600); /* two devices show a code */
    assert_int_equal(take(db, "CCCC-CCCC", NOW, device), PAIRING_WRONG);
    assert_int_equal(take(db, "BBBB-BBBB", NOW, device), PAIRING_TAKEN);
    assert_string_equal(device, DEV_B);
    assert_int_equal(take(db, "BBBB-BBBB", NOW, device), PAIRING_WRONG); /* replayed */
    assert_int_equal(take(db, "AAAA-AAAA", NOW, device), PAIRING_TAKEN);
    assert_string_equal(device, DEV_A);
}

static void a_code_ends(void **state)
{
    struct sql *db = db_of(state);
    char device[DEVID_LEN + 1];
    put(db, DEV_A, "AAAA-AAAA", NOW + 600);
    assert_int_equal(take(db, "AAAA-AAAA", NOW + 600, device), PAIRING_WRONG);
    put(db, DEV_A, "CCCC-CCCC", NOW + 600); /* the one before it is none any more */
    assert_int_equal(take(db, "AAAA-AAAA", NOW, device), PAIRING_WRONG);
    run(db, "UPDATE device SET state='suspended'");
    assert_int_equal(take(db, "CCCC-CCCC", NOW, device), PAIRING_WRONG);
    run(db, "UPDATE device SET state='active'");
    assert_int_equal(take(db, "CCCC-CCCC", NOW, device), PAIRING_TAKEN);
    uint8_t hash[PAIRING_HASH_LEN];
    put(db, DEV_A, "AAAA-AAAA", NOW + 600);
    assert_int_equal(pairing_hash(hash, span_str("AAAA-AAAA")), ERR_OK);
    assert_int_equal(pairing_put(db, DEV_B, hash, NOW, NOW + 600, NULL), ERR_EXISTS);
}

static void wrong_codes_close_it_for_the_day(void **state)
{
    struct sql *db = db_of(state);
    char device[DEVID_LEN + 1], text[200];
    assert_int_equal(take(db, "CCCC-CCCC", NOW, device),
                     PAIRING_WRONG); /* none lives: it is free */
    put(db, DEV_A, "AAAA-AAAA", NOW + 2 * DAY);
    put(db, DEV_B, "BBBB-BBBB", NOW + 2 * DAY);
    (void)snprintf(text, sizeof text, "INSERT INTO pairing_guess VALUES (%d, %d)", NOW / DAY,
                   PAIRING_BUDGET - 3);
    run(db, text);
    assert_int_equal(take(db, "CCCC-CCCC", NOW, device), PAIRING_WRONG); /* costs two of three */
    assert_int_equal(take(db, "DDDD-DDDD", NOW, device), PAIRING_CLOSED);
    assert_int_equal(take(db, "AAAA-AAAA", NOW, device), PAIRING_CLOSED); /* a right one, too */
    assert_int_equal(take(db, "AAAA-AAAA", NOW + DAY, device), PAIRING_TAKEN);
}

static struct viewer viewer_of(enum viewer_kind kind, unsigned n)
{
    struct viewer v = { .kind = kind };
    memcpy(v.hash, &n, sizeof n);
    return v;
}

static size_t devices(struct sql *db, const struct viewer *v, int64_t now_s)
{
    static char ids[VIEWER_DEVICES_MAX][DEVID_LEN + 1];
    size_t n = 99;
    assert_int_equal(viewer_devices(db, v, now_s, ids, &n, NULL), ERR_OK);
    return n;
}

static void viewers_see_what_they_were_shown(void **state)
{
    struct sql *db = db_of(state);
    struct viewer token = viewer_of(VIEWER_TOKEN, 1), account = viewer_of(VIEWER_ACCOUNT, 2);
    struct viewer other = viewer_of(VIEWER_ACCOUNT, 1); /* the same hash is nobody's help */
    int64_t n, n_tokens, n_accounts;
    assert_int_equal(devices(db, &token, NOW), 0);
    assert_int_equal(viewer_add(db, &token, DEV_A, NOW, NULL), ERR_OK);
    assert_int_equal(viewer_add(db, &account, DEV_A, NOW, NULL), ERR_OK);
    assert_int_equal(viewer_add(db, &account, DEV_A, NOW, NULL), ERR_OK);
    assert_int_equal(viewer_add(db, &account, DEV_B, NOW, NULL), ERR_OK);
    assert_int_equal(devices(db, &token, NOW), 1);
    assert_int_equal(devices(db, &account, NOW), 2);
    assert_int_equal(devices(db, &other, NOW), 0);
    assert_int_equal(viewer_count(db, DEV_A, NOW, &n_tokens, &n_accounts, NULL), ERR_OK);
    assert_int_equal(n_tokens, 1);
    assert_int_equal(n_accounts, 1);
    run(db, "UPDATE device SET state='suspended' WHERE id='" DEV_B "'");
    assert_int_equal(devices(db, &account, NOW), 1);
    assert_int_equal(viewer_remove(db, &account, DEV_B, &n, NULL), ERR_OK);
    assert_int_equal(n, 1);
    put(db, DEV_A, "AAAA-AAAA", NOW + 600);
    assert_int_equal(viewer_remove_all(db, DEV_A, &n, NULL), ERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(devices(db, &token, NOW), 0);
    assert_int_equal(devices(db, &account, NOW), 0);
    char device[DEVID_LEN + 1]; /* the code on its page ends, too */
    assert_int_equal(take(db, "AAAA-AAAA", NOW, device), PAIRING_WRONG);
    /* a device that is forgotten and comes back is shown to nobody */
    assert_int_equal(viewer_add(db, &token, DEV_A, NOW, NULL), ERR_OK);
    assert_int_equal(device_set_state(db, DEV_A, DEVICE_FORGOTTEN, NOW, NULL), ERR_OK);
    assert_int_equal(device_set_state(db, DEV_A, DEVICE_ACTIVE, NOW, NULL), ERR_OK);
    assert_int_equal(devices(db, &token, NOW), 0);
}

static void tokens_end_unused_and_have_a_number(void **state)
{
    struct sql *db = db_of(state);
    struct viewer used = viewer_of(VIEWER_TOKEN, 1), unused = viewer_of(VIEWER_TOKEN, 2);
    struct viewer account = viewer_of(VIEWER_ACCOUNT, 3);
    int64_t n_tokens, n_accounts;
    assert_int_equal(viewer_add(db, &used, DEV_A, NOW, NULL), ERR_OK);
    assert_int_equal(viewer_add(db, &unused, DEV_A, NOW, NULL), ERR_OK);
    assert_int_equal(viewer_add(db, &account, DEV_A, NOW, NULL), ERR_OK);
    assert_int_equal(devices(db, &used, NOW + 100 * DAY), 1);
    assert_int_equal(devices(db, &used, NOW + VIEWER_UNUSED_S), 1);
    assert_int_equal(devices(db, &unused, NOW + VIEWER_UNUSED_S), 0);
    assert_int_equal(devices(db, &account, NOW + 10 * VIEWER_UNUSED_S), 1);
    assert_int_equal(devices(db, &unused, NOW), 1); /* its row goes with the next token */
    struct viewer next = viewer_of(VIEWER_TOKEN, 4);
    assert_int_equal(viewer_add(db, &next, DEV_A, NOW + VIEWER_UNUSED_S, NULL), ERR_OK);
    assert_int_equal(devices(db, &unused, NOW), 0);
    assert_int_equal(devices(db, &used, NOW + VIEWER_UNUSED_S), 1);
    for (unsigned i = 0; i < VIEWER_TOKENS_MAX; i++) {
        struct viewer v = viewer_of(VIEWER_TOKEN, 100 + i);
        assert_int_equal(viewer_add(db, &v, DEV_B, NOW + i, NULL), ERR_OK);
    }
    used = viewer_of(VIEWER_TOKEN, 99);
    assert_int_equal(viewer_add(db, &used, DEV_B, NOW + DAY, NULL), ERR_OK);
    assert_int_equal(viewer_count(db, DEV_B, NOW + DAY, &n_tokens, &n_accounts, NULL), ERR_OK);
    assert_int_equal(n_tokens, VIEWER_TOKENS_MAX);
    used = viewer_of(VIEWER_TOKEN, 100); /* the oldest */
    assert_int_equal(devices(db, &used, NOW + DAY), 0);
    used = viewer_of(VIEWER_TOKEN, 101);
    assert_int_equal(devices(db, &used, NOW + DAY), 1);
}

static void an_account_has_an_end_of_devices(void **state)
{
    struct sql *db = db_of(state);
    struct viewer account = viewer_of(VIEWER_ACCOUNT, 1);
    char id[DEVID_LEN + 1];
    for (unsigned i = 0; i < VIEWER_DEVICES_MAX; i++) {
        (void)snprintf(id, sizeof id, "d%u", i);
        assert_int_equal(viewer_add(db, &account, id, NOW, NULL), ERR_OK);
    }
    assert_int_equal(viewer_add(db, &account, DEV_A, NOW, NULL), ERR_LIMIT);
    assert_int_equal(viewer_add(db, &account, "d7", NOW, NULL), ERR_OK); /* it has that one */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_code_is_good_once_and_for_its_device), TEST(a_code_ends),
        TEST(wrong_codes_close_it_for_the_day),       TEST(viewers_see_what_they_were_shown),
        TEST(tokens_end_unused_and_have_a_number),    TEST(an_account_has_an_end_of_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
