/* The conformance of a store, the same for every driver: on PostgreSQL where LANYARD_TEST_POSTGRES
 * is the URL of an empty database, and on SQLite otherwise. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "provisiond/store/certificate.h"
#include "provisiond/store/current.h"
#include "provisiond/store/device.h"
#include "provisiond/store/migrate.h"
#include "provisiond/store/node.h"
#include "provisiond/store/order.h"
#include "provisiond/store/orderlist.h"
#include "provisiond/store/prune.h"
#include "provisiond/store/queue.h"
#include "provisiond/store/sql.h"
#include "provisiond/store/token.h"
#include "tests/lib/storefix.h"

#define ZONE "direct.example"
#define DEV_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DEV_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define NOW 1800000000

static void file_is_closed_to_others(void **state)
{
    struct fixture *fx = *state;
    struct stat st;
    if (store_postgres() != NULL)
        return; /* there is no file */
    assert_int_equal(stat(fx->url + 7, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void opens_again_and_refuses_a_newer_schema(void **state)
{
    struct fixture *fx = *state;
    struct sql *again = NULL;
    struct err_info info;
    assert_int_equal(sql_open(&again, fx->url, &info), ERR_OK);
    sql_close(again);
    again = NULL;
    assert_int_equal(sql_script(fx->db, "INSERT INTO schema_version VALUES (9999, 1)", &info),
                     ERR_OK);
    assert_int_equal(sql_open(&again, fx->url, &info), ERR_CONFIG);
    assert_non_null(strstr(info.text, "9999"));
    assert_null(again);
}

static void wrong_binding_is_a_defect_not_a_crash(void **state)
{
    struct fixture *fx = *state;
    struct sql_query q;
    struct err_info info;
    sql_begin(&q, fx->db, "SELECT $1");
    sql_bind_int(&q, 2, 1);
    assert_false(sql_row(&q));
    assert_int_equal(sql_end(&q, NULL, &info), ERR_ILLEGAL);
    sql_begin(&q, fx->db, "SELECT nothing FROM nowhere WHERE id=$1");
    sql_bind_int(&q, 1, 1);
    assert_int_equal(sql_end(&q, NULL, &info), ERR_UNAVAILABLE);
}

static void parameters_are_matched_by_number(void **state)
{
    struct fixture *fx = *state;
    struct sql_query q;
    sql_begin(&q, fx->db, "SELECT $2, $1, $2");
    sql_bind_int(&q, 1, 10);
    sql_bind_text(&q, 2, "twenty");
    assert_true(sql_row(&q));
    assert_string_equal(sql_text(&q, 0), "twenty");
    assert_int_equal(sql_int(&q, 1), 10);
    assert_string_equal(sql_text(&q, 2), "twenty");
    assert_int_equal(sql_end(&q, NULL, NULL), ERR_OK);
}

static void make_token(struct fixture *fx, uint8_t fill, int64_t quota, int64_t expires_at,
                       uint8_t hash[TOKEN_HASH_LEN], int64_t *id)
{
    struct token_row row = { .zone = ZONE, .quota = quota, .expires_at = expires_at };
    memset(hash, fill, TOKEN_HASH_LEN);
    assert_int_equal(token_insert(fx->db, &row, hash, id, NULL), ERR_OK);
}

static void token_is_refused_when_it_should_be(void **state)
{
    struct fixture *fx = *state;
    uint8_t hash[TOKEN_HASH_LEN], unknown[TOKEN_HASH_LEN] = { 9 };
    int64_t id = 0, got = 0;
    make_token(fx, 1, 2, NOW + 10, hash, &id);
    assert_int_equal(token_consume(fx->db, unknown, ZONE, NOW, &got, NULL), ERR_DENIED);
    assert_int_equal(token_consume(fx->db, hash, "other.example", NOW, &got, NULL), ERR_DENIED);
    assert_int_equal(token_consume(fx->db, hash, ZONE, NOW + 10, &got, NULL), ERR_DENIED);
    assert_int_equal(token_consume(fx->db, hash, ZONE, NOW, &got, NULL), ERR_OK);
    assert_int_equal(got, id);
    assert_int_equal(token_revoke(fx->db, id, NOW, NULL), ERR_OK);
    assert_int_equal(token_consume(fx->db, hash, ZONE, NOW, &got, NULL), ERR_DENIED);
    assert_int_equal(token_revoke(fx->db, id, NOW, NULL), ERR_OK);
    assert_int_equal(token_revoke(fx->db, id + 1, NOW, NULL), ERR_NOTFOUND);
}

/* The key is made of the id, as no two devices have the same. */
static enum err admit_into(struct sql *db, const char *id, const char *zone, const uint8_t *token,
                           enum admission *out, struct err_info *info)
{
    int64_t token_id;
    struct device_request rq = { .id = id, .zone = zone, .listed = true, .token_hash = token };
    memcpy(rq.spki_sha256, id, SPKI_HASH_LEN);
    return device_admit(db, &rq, NOW, out, &token_id, info);
}

static enum admission try_admit(struct sql *db, const char *id, const char *zone,
                                const uint8_t *token)
{
    enum admission out = ADMISSION_N;
    return admit_into(db, id, zone, token, &out, NULL) == ERR_OK ? out : ADMISSION_N;
}

struct racer {
    const char *url;
    const uint8_t *hash;
    pthread_barrier_t *start;
    unsigned number;
    char id[DEVID_LEN + 1];
    enum err e;
};

static enum err admit_racer(void *arg, struct sql *db, struct err_info *info)
{
    struct racer *r = arg;
    enum admission out;
    enum err e = admit_into(db, r->id, ZONE, r->hash, &out, info);
    return e == ERR_OK && out != ADMISSION_FRESH ? ERR_DENIED : e;
}

static void *race(void *arg)
{
    struct racer *r = arg;
    struct sql *db = NULL;
    struct err_info info;
    bool opened = sql_open(&db, r->url, &info) == ERR_OK;
    (void)snprintf(r->id, sizeof r->id, "raceraceraceraceraceraceracerac%c", 'a' + (char)r->number);
    pthread_barrier_wait(r->start);
    r->e = opened ? sql_transact(db, admit_racer, r, &info) : ERR_IO;
    sql_close(db);
    return NULL;
}

static void one_use_has_one_winner(void **state)
{
    struct fixture *fx = *state;
    for (unsigned round = 0; round < 10; round++) {
        enum { N = 16 };
        uint8_t hash[TOKEN_HASH_LEN];
        int64_t id;
        pthread_t threads[N];
        pthread_barrier_t start;
        struct racer racers[N];
        unsigned winners = 0, losers = 0;
        make_token(fx, (uint8_t)(20 + round), 1, NOW + 10, hash, &id);
        assert_int_equal(sql_script(fx->db, "DELETE FROM device", NULL), ERR_OK);
        pthread_barrier_init(&start, NULL, N);
        for (unsigned i = 0; i < N; i++) {
            racers[i] = (struct racer){ fx->url, hash, &start, i, "", ERR_OK };
            pthread_create(&threads[i], NULL, race, &racers[i]);
        }
        for (unsigned i = 0; i < N; i++) {
            pthread_join(threads[i], NULL);
            winners += racers[i].e == ERR_OK;
            losers += racers[i].e == ERR_DENIED;
        }
        pthread_barrier_destroy(&start);
        assert_int_equal(winners, 1);
        assert_int_equal(losers, N - 1); /* none gave up for the crowd */
    }
}

static void take_row(void *arg, const struct order_row *row)
{
    *(struct order_row *)arg = *row;
}

/* One order of the only CA, whose limits are none. */
static enum err claim_for(struct sql *db, int64_t now_s, const struct order_lease *lease,
                          struct order_row *out, int64_t *next, struct err_info *info)
{
    struct queue_issuer ca = { .name = "ca", .zones = { ZONE }, .n_zones = 1, .room = 1 };
    enum err e = queue_claim(db, &ca, 1, now_s, lease, 1, take_row, out, next, info);
    return e == ERR_OK && ca.room == 1 ? ERR_NOTFOUND : e;
}

static enum err claim(struct fixture *fx, int64_t now_s, int64_t until, struct order_row *out,
                      int64_t *next)
{
    struct order_lease lease = { "node", 1, until };
    return claim_for(fx->db, now_s, &lease, out, next, NULL);
}

/* The order that the claim has taken; ERR_NOTFOUND for none. */
static enum err claimed(struct sql *db, const struct order_lease *lease, struct order_row *out)
{
    out->id = 0;
    enum err e = queue_claimed(db, lease, 1, take_row, out, NULL);
    return e == ERR_OK && out->id == 0 ? ERR_NOTFOUND : e;
}

static void admit(struct fixture *fx, const char *id)
{
    assert_true(try_admit(fx->db, id, ZONE, NULL) <= ADMISSION_KNOWN);
}

static void count_device(void *arg, const struct device_row *row)
{
    (void)row;
    ++*(unsigned *)arg;
}

static void devices_by_what_they_are(void **state)
{
    static const struct {
        const char *why;
        struct device_filter filter;
        unsigned want;
    } CASES[] = {
        { "all", { .limit = 9 }, 3 },
        { "so many", { .limit = 2 }, 2 },
        { "of a zone", { .zone = ZONE, .limit = 9 }, 2 },
        { "of a zone without any", { .zone = "none.example", .limit = 9 }, 0 },
        { "of a state", { .state = "suspended", .limit = 9 }, 1 },
        { "marked", { .flagged = true, .limit = 9 }, 1 },
        { "all of it", { .zone = ZONE, .state = "active", .flagged = true, .limit = 9 }, 1 },
        { "a mark that does not fit", { .state = "suspended", .flagged = true, .limit = 9 }, 0 },
    };
    static const char A[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                      B[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    struct fixture *fx = *state;
    admit(fx, A);
    admit(fx, B);
    assert_int_equal(try_admit(fx->db, "cccccccccccccccccccccccccccccccc", "b.example", NULL),
                     ADMISSION_FRESH);
    assert_int_equal(device_flag(fx->db, A, "look", NULL), ERR_OK);
    assert_int_equal(device_set_state(fx->db, B, DEVICE_SUSPENDED, NOW, NULL), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        unsigned n = 0;
        print_message("%s\n", CASES[i].why);
        assert_int_equal(device_each(fx->db, &CASES[i].filter, count_device, &n, NULL), ERR_OK);
        assert_int_equal(n, CASES[i].want);
    }
}

static void admission_is_idempotent_and_uses_one_token(void **state)
{
    struct fixture *fx = *state;
    uint8_t hash[TOKEN_HASH_LEN];
    int64_t id;
    struct device_row d;
    make_token(fx, 1, 1, NOW + 10, hash, &id);
    assert_int_equal(try_admit(fx->db, DEV_A, ZONE, hash), ADMISSION_FRESH);
    assert_int_equal(try_admit(fx->db, DEV_A, ZONE, hash), ADMISSION_KNOWN);
    assert_int_equal(try_admit(fx->db, DEV_B, ZONE, hash), ADMISSION_TOKEN);
    assert_int_equal(device_get(fx->db, DEV_B, &d, NULL), ERR_NOTFOUND);
    assert_int_equal(try_admit(fx->db, DEV_A, "other.example", NULL), ADMISSION_OTHER_ZONE);
    assert_int_equal(device_set_state(fx->db, DEV_A, DEVICE_SUSPENDED, NOW, NULL), ERR_OK);
    assert_int_equal(try_admit(fx->db, DEV_A, ZONE, NULL), ADMISSION_SUSPENDED);
    assert_int_equal(device_set_state(fx->db, DEV_A, DEVICE_FORGOTTEN, NOW, NULL), ERR_OK);
    assert_int_equal(try_admit(fx->db, DEV_A, ZONE, NULL), ADMISSION_FRESH);
}

static const struct schedule_policy POLICY = { 25, true };

static enum order_submit submit(struct fixture *fx, const char *device, uint8_t csr, uint8_t key);

static void what_the_ca_may_have_issued_is_in_quarantine(void **state)
{
    static const struct {
        const char *why;
        enum order_state at;
        enum admission want;
        enum { FORGET, SUSPEND, CANCEL, NEW_CSR } first;
    } CASES[] = {
        { "the CA has not seen the CSR", ORDER_VALIDATING, ADMISSION_FRESH, FORGET },
        { "nor has it if it is canceled", ORDER_VALIDATING, ADMISSION_FRESH, CANCEL },
        { "it may have issued", ORDER_FINALIZING, ADMISSION_QUARANTINED, FORGET },
        { "it has issued, and nobody has read it", ORDER_DOWNLOADING, ADMISSION_QUARANTINED,
          FORGET },
        { "the device was suspended first", ORDER_FINALIZING, ADMISSION_QUARANTINED, SUSPEND },
        { "the order was canceled first", ORDER_FINALIZING, ADMISSION_QUARANTINED, CANCEL },
        { "a newer CSR took its place", ORDER_DOWNLOADING, ADMISSION_QUARANTINED, NEW_CSR },
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct order_row o;
        char id[] = DEV_A;
        id[0] = (char)('b' + i); /* each has so many orders a day */
        int64_t next;
        assert_int_equal(try_admit(fx->db, id, ZONE, NULL), ADMISSION_FRESH);
        assert_int_equal(submit(fx, id, (uint8_t)(i + 1), (uint8_t)(i + 1)), ORDER_SUBMIT_QUEUED);
        assert_int_equal(claim(fx, NOW, NOW + 100, &o, &next), ERR_OK);
        o.state = CASES[i].at;
        assert_int_equal(order_save(fx->db, &o, NOW + 100, NOW, NULL), ERR_OK);
        if (CASES[i].first == SUSPEND)
            assert_int_equal(device_set_state(fx->db, id, DEVICE_SUSPENDED, NOW, NULL), ERR_OK);
        else if (CASES[i].first == CANCEL)
            assert_int_equal(orderlist_cancel(fx->db, o.id, NOW, NULL), ERR_OK);
        else if (CASES[i].first == NEW_CSR)
            assert_int_equal(submit(fx, id, 100, (uint8_t)(i + 1)), ORDER_SUBMIT_QUEUED);
        assert_int_equal(device_set_state(fx->db, id, DEVICE_FORGOTTEN, NOW, NULL), ERR_OK);
        if (try_admit(fx->db, id, ZONE, NULL) != CASES[i].want)
            fail_msg("%s", CASES[i].why);
        assert_int_equal(device_set_state(fx->db, id, DEVICE_FORGOTTEN, NOW, NULL), ERR_OK);
        assert_int_equal(device_release(fx->db, id, NULL), ERR_OK);
    }
}

static struct order_row request(const char *device, uint8_t csr, uint8_t key)
{
    struct order_row r = { .zone = ZONE, .issuer = "ca" };
    (void)snprintf(r.device_id, sizeof r.device_id, "%s", device);
    memset(r.csr_sha256, csr, sizeof r.csr_sha256);
    memset(r.spki_sha256, key, sizeof r.spki_sha256);
    return r;
}

/* Three bytes that tell one request from another. */
static struct span csr_of(const struct order_row *r)
{
    return (struct span){ r->csr_sha256, 3 };
}

static void assert_csr(struct fixture *fx, int64_t order_id, const char *want)
{
    struct buf csr;
    buf_init(&csr, 16);
    assert_int_equal(order_csr(fx->db, order_id, &csr, NULL), ERR_OK);
    assert_int_equal(csr.len, 3);
    assert_memory_equal(csr.p, want, 3);
    buf_clear(&csr);
}

static enum order_submit submit(struct fixture *fx, const char *device, uint8_t csr, uint8_t key)
{
    struct order_row r = request(device, csr, key);
    enum order_submit out = ORDER_SUBMIT_TOO_MANY;
    struct err_info info = { "" };
    if (order_submit(fx->db, &r, &(struct order_csr){ .der = csr_of(&r) }, 5, &POLICY, NOW, &out,
                     &info) != ERR_OK)
        fail_msg("%s", info.text);
    return out;
}

static void same_csr_is_the_same_order(void **state)
{
    struct fixture *fx = *state;
    struct order_row a, b;
    admit(fx, DEV_A);
    assert_int_equal(submit(fx, DEV_A, 1, 1), ORDER_SUBMIT_QUEUED);
    assert_int_equal(order_latest(fx->db, DEV_A, ZONE, &a, NULL), ERR_OK);
    assert_int_equal(submit(fx, DEV_A, 1, 1), ORDER_SUBMIT_QUEUED);
    assert_int_equal(order_latest(fx->db, DEV_A, ZONE, &b, NULL), ERR_OK);
    assert_int_equal(a.id, b.id);
    /* another CSR takes its place */
    assert_int_equal(submit(fx, DEV_A, 2, 2), ORDER_SUBMIT_QUEUED);
    assert_int_equal(order_get(fx->db, a.id, &b, NULL), ERR_OK);
    assert_int_equal(b.state, ORDER_CANCELED);
    assert_int_equal(order_latest(fx->db, DEV_A, ZONE, &b, NULL), ERR_OK);
    assert_int_not_equal(a.id, b.id);
    assert_csr(fx, b.id, "\2\2\2");
}

static void a_shared_key_flags_both(void **state)
{
    struct fixture *fx = *state;
    struct device_row d;
    struct order_row o;
    admit(fx, DEV_A);
    admit(fx, DEV_B);
    assert_int_equal(submit(fx, DEV_A, 1, 7), ORDER_SUBMIT_QUEUED);
    assert_int_equal(submit(fx, DEV_B, 2, 7), ORDER_SUBMIT_REUSED);
    assert_int_equal(order_latest(fx->db, DEV_B, ZONE, &o, NULL), ERR_NOTFOUND);
    assert_int_equal(device_get(fx->db, DEV_A, &d, NULL), ERR_OK);
    assert_string_not_equal(d.flag, "");
    assert_int_equal(device_get(fx->db, DEV_B, &d, NULL), ERR_OK);
    assert_string_not_equal(d.flag, "");
    /* the identity key of a known device is no certificate key of another */
    struct order_row r = request(DEV_B, 3, 0); /* 20 zero bytes are the id aaaa... */
    enum order_submit out;
    assert_int_equal(order_submit(fx->db, &r, &(struct order_csr){ .der = csr_of(&r) }, 5, &POLICY,
                                  NOW, &out, NULL),
                     ERR_OK);
    assert_int_equal(out, ORDER_SUBMIT_REUSED);
}

static void orders_of_a_day_are_bounded(void **state)
{
    struct fixture *fx = *state;
    admit(fx, DEV_A);
    for (uint8_t i = 1; i <= 5; i++)
        assert_int_equal(submit(fx, DEV_A, i, i), ORDER_SUBMIT_QUEUED);
    assert_int_equal(submit(fx, DEV_A, 6, 6), ORDER_SUBMIT_TOO_MANY);
    assert_int_equal(submit(fx, DEV_A, 5, 5), ORDER_SUBMIT_QUEUED); /* the waiting one is fine */
}

static void a_lease_keeps_others_away_and_a_fence_the_late(void **state)
{
    struct fixture *fx = *state;
    struct order_row mine, theirs;
    int64_t next = 0;
    admit(fx, DEV_A);
    (void)submit(fx, DEV_A, 1, 1);
    assert_int_equal(claim(fx, NOW, NOW + 100, &mine, &next), ERR_OK);
    assert_int_equal(claim(fx, NOW, NOW + 100, &theirs, &next), ERR_NOTFOUND);
    assert_int_equal(next, NOW + 100);
    /* the lease ends, another node takes over */
    assert_int_equal(claim(fx, NOW + 100, NOW + 200, &theirs, &next), ERR_OK);
    mine.state = ORDER_ORDERING;
    assert_int_equal(order_save(fx->db, &mine, NOW + 300, NOW, NULL), ERR_ILLEGAL);
    theirs.state = ORDER_ORDERING;
    assert_int_equal(order_save(fx->db, &theirs, NOW + 300, NOW, NULL), ERR_OK);
    /* a new CSR cancels, and whoever works on the old one is told */
    (void)submit(fx, DEV_A, 2, 2);
    theirs.state = ORDER_AUTHORIZING;
    assert_int_equal(order_save(fx->db, &theirs, NOW + 300, NOW, NULL), ERR_ILLEGAL);
    assert_int_equal(order_get(fx->db, theirs.id, &mine, NULL), ERR_OK);
    assert_int_equal(mine.state, ORDER_CANCELED);
}

enum { CLAIMERS = 8, CLAIMED = 48 };

struct claimer {
    const char *url;
    pthread_barrier_t *start;
    struct order_lease lease;
    char node[16];
    int64_t ids[CLAIMED];
    unsigned n;
    enum err e; /* that ended it */
    struct order_row row;
};

static enum err claim_one(void *arg, struct sql *db, struct err_info *info)
{
    struct claimer *c = arg;
    int64_t next;
    return claim_for(db, NOW, &c->lease, &c->row, &next, info);
}

static void *claim_all(void *arg)
{
    struct claimer *c = arg;
    struct sql *db = NULL;
    struct err_info info;
    c->e = sql_open(&db, c->url, &info);
    pthread_barrier_wait(c->start);
    while (c->e == ERR_OK) {
        c->lease.claim++;
        c->e = sql_transact(db, claim_one, c, &info);
        if (c->e == ERR_OK)
            c->ids[c->n++] = c->row.id;
    }
    sql_close(db);
    return NULL;
}

static void many_nodes_claim_past_each_other(void **state)
{
    static struct claimer all[CLAIMERS];
    struct fixture *fx = *state;
    pthread_t threads[CLAIMERS];
    pthread_barrier_t start;
    bool taken[CLAIMED + 1] = { false };
    unsigned n = 0;
    for (unsigned i = 0; i < CLAIMED; i++) {
        char id[DEVID_LEN + 1];
        (void)snprintf(id, sizeof id, "claimclaimclaimclaimclaimclaim%c%c", 'a' + (char)(i / 8),
                       'a' + (char)(i % 8));
        admit(fx, id);
        assert_int_equal(submit(fx, id, (uint8_t)(100 + i), (uint8_t)(100 + i)),
                         ORDER_SUBMIT_QUEUED);
    }
    pthread_barrier_init(&start, NULL, CLAIMERS);
    for (unsigned i = 0; i < CLAIMERS; i++) {
        all[i] = (struct claimer){ .url = fx->url, .start = &start };
        (void)snprintf(all[i].node, sizeof all[i].node, "node%u", i);
        all[i].lease = (struct order_lease){ .node = all[i].node, .until = NOW + 900 };
        pthread_create(&threads[i], NULL, claim_all, &all[i]);
    }
    for (unsigned i = 0; i < CLAIMERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(all[i].e, ERR_NOTFOUND); /* nothing left; not: gave up */
        n += all[i].n;
        for (unsigned k = 0; k < all[i].n; k++) {
            assert_in_range(all[i].ids[k], 1, CLAIMED);
            assert_false(taken[all[i].ids[k]]);
            taken[all[i].ids[k]] = true;
        }
    }
    pthread_barrier_destroy(&start);
    assert_int_equal(n, CLAIMED);
}

static void a_claim_is_found_again(void **state)
{
    struct fixture *fx = *state;
    struct order_lease mine = { "node", 7, NOW + 900 }, other = { "node", 8, NOW + 900 },
                       theirs = { "other", 7, NOW + 900 };
    struct order_row row, again;
    int64_t next;
    admit(fx, DEV_A);
    (void)submit(fx, DEV_A, 1, 1);
    assert_int_equal(claimed(fx->db, &mine, &again), ERR_NOTFOUND);
    assert_int_equal(claim_for(fx->db, NOW, &mine, &row, &next, NULL), ERR_OK);
    assert_int_equal(claimed(fx->db, &other, &again), ERR_NOTFOUND);
    assert_int_equal(claimed(fx->db, &theirs, &again), ERR_NOTFOUND);
    assert_int_equal(claimed(fx->db, &mine, &again), ERR_OK);
    assert_int_equal(again.id, row.id);
    assert_int_equal(again.fence, row.fence);
}

/* Only what this node held, and what a dead one did. */
static void the_living_keep_their_orders(void **state)
{
    struct fixture *fx = *state;
    struct order_lease theirs = { "other", 7, NOW + 900 };
    struct order_row row;
    int64_t next, released = -1;
    admit(fx, DEV_A);
    (void)submit(fx, DEV_A, 1, 1);
    assert_int_equal(node_touch(fx->db, "other", NOW, NULL), ERR_OK);
    assert_int_equal(claim_for(fx->db, NOW, &theirs, &row, &next, NULL), ERR_OK);
    assert_int_equal(order_release_all(fx->db, "node", NULL), ERR_OK);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_NOTFOUND);
    assert_int_equal(node_release_dead(fx->db, NOW, &released, NULL), ERR_OK);
    assert_int_equal(released, 0);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_NOTFOUND);
    assert_int_equal(node_release_dead(fx->db, NOW + 1, &released, NULL), ERR_OK);
    assert_int_equal(released, 1);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_OK);
    /* and who comes back finds out */
    row.fence--;
    assert_int_equal(order_save(fx->db, &row, NOW + 900, NOW, NULL), ERR_ILLEGAL);
}

static void text_that_was_cut_can_be_kept(void **state)
{
    struct fixture *fx = *state;
    struct order_row row;
    int64_t next;
    admit(fx, DEV_A);
    (void)submit(fx, DEV_A, 1, 1);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_OK);
    (void)strcpy(row.detail, "caf\xc3"); /* what a CA said, cut within a character */
    assert_int_equal(order_save(fx->db, &row, NOW + 900, NOW, NULL), ERR_OK);
    assert_int_equal(order_get(fx->db, row.id, &row, NULL), ERR_OK);
    assert_memory_equal(row.detail, "caf", 3);
}

static void a_restart_takes_up_what_was_held(void **state)
{
    struct fixture *fx = *state;
    struct order_row row;
    int64_t next = 0;
    admit(fx, DEV_A);
    (void)submit(fx, DEV_A, 1, 1);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_OK);
    assert_int_equal(order_release_all(fx->db, "node", NULL), ERR_OK);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_OK);
    row.due_at = NOW + 50;
    row.state = ORDER_QUEUED;
    assert_int_equal(order_save(fx->db, &row, 0, NOW, NULL), ERR_OK);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_NOTFOUND);
    assert_int_equal(next, NOW + 50);
}

static void an_order_has_one_certificate(void **state)
{
    struct fixture *fx = *state;
    struct order_row row;
    struct certificate_row cert = { .serial = "01", .not_after = NOW + 1000 }, got;
    struct buf chain;
    int64_t next;
    admit(fx, DEV_A);
    (void)submit(fx, DEV_A, 1, 1);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_OK);
    assert_int_equal(certificate_insert(fx->db, &row, &cert, "FIRST", NULL), ERR_OK);
    (void)strcpy(cert.serial, "02");
    assert_int_equal(certificate_insert(fx->db, &row, &cert, "SECOND", NULL), ERR_OK);
    row.state = ORDER_VALID;
    assert_int_equal(order_save(fx->db, &row, 0, NOW, NULL), ERR_OK);
    buf_init(&chain, 100);
    assert_int_equal(certificate_get(fx->db, row.id, &got, &chain, NULL), ERR_OK);
    assert_string_equal(got.serial, "01");
    assert_string_equal(buf_str(&chain), "FIRST");
    buf_clear(&chain);
    assert_int_equal(submit(fx, DEV_A, 1, 1), ORDER_SUBMIT_DONE);
    /* once it has expired the same CSR is a new order */
    struct order_row r = request(DEV_A, 1, 1);
    enum order_submit out;
    assert_int_equal(order_submit(fx->db, &r, &(struct order_csr){ .der = csr_of(&r) }, 5, &POLICY,
                                  NOW + 1000, &out, NULL),
                     ERR_OK);
    assert_int_equal(out, ORDER_SUBMIT_QUEUED);
}

static void issue(struct fixture *fx, uint8_t csr, const char *chain)
{
    struct order_row row;
    struct certificate_row cert = { .serial = "01", .not_after = NOW + 1000 };
    int64_t next;
    assert_int_equal(submit(fx, DEV_A, csr, csr), ORDER_SUBMIT_QUEUED);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_OK);
    assert_int_equal(certificate_insert(fx->db, &row, &cert, chain, NULL), ERR_OK);
    row.state = ORDER_VALID;
    assert_int_equal(order_save(fx->db, &row, 0, NOW, NULL), ERR_OK);
}

static void an_older_csr_is_answered_by_its_own_order(void **state)
{
    struct fixture *fx = *state;
    struct certificate_row got;
    struct buf chain;
    admit(fx, DEV_A);
    issue(fx, 1, "FIRST");
    issue(fx, 2, "SECOND");
    struct order_row r = request(DEV_A, 1, 1);
    enum order_submit out;
    assert_int_equal(order_submit(fx->db, &r, &(struct order_csr){ .der = csr_of(&r) }, 5, &POLICY,
                                  NOW, &out, NULL),
                     ERR_OK);
    assert_int_equal(out, ORDER_SUBMIT_DONE);
    buf_init(&chain, 100);
    assert_int_equal(certificate_get(fx->db, r.id, &got, &chain, NULL), ERR_OK);
    assert_string_equal(buf_str(&chain), "FIRST");
    buf_clear(&chain);
}

static int64_t rows(struct fixture *fx, const char *text)
{
    struct sql_query q;
    int64_t n = -1;
    sql_begin(&q, fx->db, text);
    while (sql_row(&q))
        n = sql_int(&q, 0);
    assert_int_equal(sql_end(&q, NULL, NULL), ERR_OK);
    return n;
}

static int64_t prune(struct fixture *fx, int64_t before_s)
{
    int64_t after = 0, n = 0;
    do {
        assert_int_equal(sql_begin_tx(fx->db, NULL), ERR_OK);
        assert_int_equal(prune_orders(fx->db, before_s, &after, &n, NULL), ERR_OK);
        assert_int_equal(sql_commit(fx->db, NULL), ERR_OK);
    } while (after != 0);
    return n;
}

/* Certificates end at NOW + 1000, orders at NOW. */
static void old_orders_go_and_the_newest_stays(void **state)
{
    struct fixture *fx = *state;
    struct order_row o;
    admit(fx, DEV_A);
    admit(fx, DEV_B);
    issue(fx, 1, "FIRST");
    issue(fx, 2, "SECOND");
    issue(fx, 3, "THIRD");
    (void)submit(fx, DEV_B, 4, 4);
    (void)submit(fx, DEV_B, 5, 5); /* the one before is canceled */
    assert_int_equal(prune(fx, NOW), 0);
    assert_int_equal(prune(fx, NOW + 1), 1); /* the canceled one; certificates may still live */
    assert_int_equal(prune(fx, NOW + 1000), 0);
    assert_int_equal(prune(fx, NOW + 1001), 2);
    assert_int_equal(prune(fx, NOW + 1001), 0);
    assert_int_equal(rows(fx, "SELECT count(*) FROM certificate"), 1);
    assert_int_equal(rows(fx, "SELECT count(*) FROM cert_order"), 2);
    assert_int_equal(rows(fx, "SELECT count(*) FROM cert_key"), 5); /* for good */
    assert_int_equal(order_latest(fx->db, DEV_A, ZONE, &o, NULL), ERR_OK);
    assert_csr(fx, o.id, "\3\3\3");
    assert_int_equal(order_latest(fx->db, DEV_B, ZONE, &o, NULL), ERR_OK);
}

/* The order for its next one was refused, or waits for months: what it had last is still asked for.
 */
static void the_last_certificate_of_a_device_stays(void **state)
{
    struct fixture *fx = *state;
    struct certificate_row got;
    admit(fx, DEV_A);
    issue(fx, 1, "FIRST");
    issue(fx, 2, "LAST");
    struct order_row o;
    assert_int_equal(order_latest(fx->db, DEV_A, ZONE, &o, NULL), ERR_OK);
    struct current_row now_has = { .device_id = DEV_A, .zone = ZONE, .order_id = o.id };
    assert_int_equal(current_put(fx->db, &now_has, NULL), ERR_OK);
    (void)submit(fx, DEV_A, 3, 3);
    assert_int_equal(prune(fx, NOW + 1001), 1);
    assert_int_equal(certificate_get(fx->db, o.id, &got, NULL, NULL), ERR_OK);
}

static void many_old_orders_go_piece_by_piece(void **state)
{
    struct fixture *fx = *state;
    char text[512];
    assert_int_equal(sql_begin_tx(fx->db, NULL), ERR_OK);
    for (int i = 0; i < 10; i++) {
        (void)snprintf(
            text, sizeof text,
            "INSERT INTO cert_order (id, device_id, zone, issuer, state, csr, csr_sha256,"
            " spki_sha256, bare_name, due_at, begun_at, created_at, updated_at)"
            " SELECT %d + n.n, 'd%d-' || (n.n / 2), '" ZONE "', 'ca', 'invalid', '', '', '', 0, 1,"
            " 1, 1, 1 FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c"
            " WHERE n<900) SELECT n FROM c) n",
            i * 1000, i);
        assert_int_equal(sql_script(fx->db, text, NULL), ERR_OK);
    }
    assert_int_equal(sql_commit(fx->db, NULL), ERR_OK);
    /* of each device the first of two goes; the first and the last of 900 are alone */
    assert_int_equal(prune(fx, NOW), 10 * 449);
}

static void the_orders_of_another_zone_are_not_shown(void **state)
{
    struct fixture *fx = *state;
    struct order_row row;
    admit(fx, DEV_A);
    issue(fx, 1, "FIRST");
    assert_int_equal(order_latest(fx->db, DEV_A, ZONE, &row, NULL), ERR_OK);
    assert_int_equal(order_latest(fx->db, DEV_A, "other.example", &row, NULL), ERR_NOTFOUND);
}

static void a_request_too_many_leaves_no_key_behind(void **state)
{
    struct fixture *fx = *state;
    admit(fx, DEV_A);
    admit(fx, DEV_B);
    for (uint8_t i = 1; i <= 5; i++)
        assert_int_equal(submit(fx, DEV_A, i, i), ORDER_SUBMIT_QUEUED);
    assert_int_equal(submit(fx, DEV_A, 6, 6), ORDER_SUBMIT_TOO_MANY);
    assert_int_equal(submit(fx, DEV_B, 7, 6), ORDER_SUBMIT_QUEUED);
}

static void a_clock_set_back_makes_orders_due(void **state)
{
    enum { DAY = 86400 };
    struct fixture *fx = *state;
    struct order_row row;
    int64_t next;
    admit(fx, DEV_A);
    admit(fx, DEV_B);
    (void)submit(fx, DEV_A, 1, 1);
    (void)submit(fx, DEV_B, 2, 2);
    /* one waits since a moment that is tomorrow now, the other since a moment ago */
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_OK);
    row.due_at = NOW + DAY + 600;
    assert_int_equal(order_save(fx->db, &row, NOW + 9 * DAY, NOW + DAY, NULL), ERR_OK);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_OK);
    row.due_at = NOW + 600;
    assert_int_equal(order_save(fx->db, &row, 0, NOW, NULL), ERR_OK);
    assert_int_equal(order_clock_back(fx->db, NOW, NOW + 300, NULL), ERR_OK);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_NOTFOUND);
    assert_int_equal(next, NOW + 300);
    assert_int_equal(claim(fx, NOW + 300, NOW + 900, &row, &next), ERR_OK);
    assert_string_equal(row.device_id, DEV_A);
}

static void a_job_after_a_lost_transaction_does_not_run(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(sql_begin_tx(fx->db, NULL), ERR_OK);
    assert_int_equal(sql_savepoint(fx->db, NULL), ERR_OK);
    assert_int_equal(sql_savepoint_end(fx->db, true, NULL), ERR_OK);
    sql_rollback(fx->db); /* as SQLite does by itself when the disk is full */
    assert_int_equal(sql_savepoint(fx->db, NULL), ERR_UNAVAILABLE);
    assert_int_equal(sql_commit(fx->db, NULL), ERR_UNAVAILABLE);
    assert_int_equal(sql_begin_tx(fx->db, NULL), ERR_OK);
    assert_int_equal(sql_commit(fx->db, NULL), ERR_OK);
}

static void suspension_cancels_what_is_open(void **state)
{
    struct fixture *fx = *state;
    struct order_row row;
    int64_t next;
    admit(fx, DEV_A);
    (void)submit(fx, DEV_A, 1, 1);
    assert_int_equal(device_set_state(fx->db, DEV_A, DEVICE_SUSPENDED, NOW, NULL), ERR_OK);
    assert_int_equal(claim(fx, NOW, NOW + 900, &row, &next), ERR_NOTFOUND);
    assert_int_equal(next, 0);
    assert_int_equal(device_set_state(fx->db, DEV_B, DEVICE_SUSPENDED, NOW, NULL), ERR_NOTFOUND);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(file_is_closed_to_others),
        TEST(opens_again_and_refuses_a_newer_schema),
        TEST(wrong_binding_is_a_defect_not_a_crash),
        TEST(parameters_are_matched_by_number),
        TEST(devices_by_what_they_are),
        TEST(token_is_refused_when_it_should_be),
        TEST(one_use_has_one_winner),
        TEST(admission_is_idempotent_and_uses_one_token),
        TEST(what_the_ca_may_have_issued_is_in_quarantine),
        TEST(same_csr_is_the_same_order),
        TEST(a_shared_key_flags_both),
        TEST(orders_of_a_day_are_bounded),
        TEST(a_lease_keeps_others_away_and_a_fence_the_late),
        TEST(a_restart_takes_up_what_was_held),
        TEST(many_nodes_claim_past_each_other),
        TEST(a_claim_is_found_again),
        TEST(the_living_keep_their_orders),
        TEST(text_that_was_cut_can_be_kept),
        TEST(an_order_has_one_certificate),
        TEST(an_older_csr_is_answered_by_its_own_order),
        TEST(old_orders_go_and_the_newest_stays),
        TEST(the_last_certificate_of_a_device_stays),
        TEST(many_old_orders_go_piece_by_piece),
        TEST(the_orders_of_another_zone_are_not_shown),
        TEST(a_request_too_many_leaves_no_key_behind),
        TEST(a_clock_set_back_makes_orders_due),
        TEST(a_job_after_a_lost_transaction_does_not_run),
        TEST(suspension_cancels_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
