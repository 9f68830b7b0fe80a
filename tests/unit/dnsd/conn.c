#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "dnsd/conn.h"

/* 10.0.0.`n` */
static struct sockaddr_in client4(unsigned n)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000000 + n) };
}

static struct conn *add(struct conn_table *t, unsigned client, int64_t now_ms)
{
    struct sockaddr_in peer = client4(client);
    struct conn *victim = conn_victim(t, (const struct sockaddr *)&peer);
    if (victim != NULL)
        conn_close(t, victim);
    struct channel channel = { .fd = eventfd(0, EFD_CLOEXEC), .ready = true };
    return conn_add(t, &channel, (const struct sockaddr *)&peer, now_ms);
}

static int setup(void **state)
{
    struct conn_table *t = malloc(sizeof *t);
    *state = t;
    return conn_table_init(t, 6, 3) == ERR_OK ? 0 : 1;
}

static int teardown(void **state)
{
    struct conn_table *t = *state;
    conn_table_clear(t);
    free(t);
    return 0;
}

static void a_client_makes_room_for_itself(void **state)
{
    struct conn_table *t = *state;
    struct conn *other = add(t, 2, 1);
    struct conn *mine[3];
    for (int i = 0; i < 3; i++)
        mine[i] = add(t, 1, 2 + i);
    conn_touch(t, mine[0], 10); /* mine[1] is the oldest of its client now */
    uint32_t generation = mine[1]->generation;
    struct conn *next = add(t, 1, 11);
    assert_null(conn_find(t, mine[1]->slot, generation));
    assert_true(mine[0]->channel.fd >= 0 && mine[2]->channel.fd >= 0 && other->channel.fd >= 0 &&
                next->channel.fd >= 0);
    assert_int_equal(t->all.n, 4);
}

static void the_oldest_of_all_makes_room(void **state)
{
    struct conn_table *t = *state;
    struct conn *c[6];
    for (unsigned i = 0; i < 6; i++)
        c[i] = add(t, i, i);
    conn_touch(t, c[0], 10);
    uint32_t generation = c[1]->generation, slot = c[1]->slot;
    assert_ptr_equal(add(t, 9, 11), c[1]); /* it gets the slot, too */
    assert_null(conn_find(t, slot, generation));
    assert_ptr_equal(t->all.oldest, c[2]);
    assert_ptr_equal(t->all.newest, c[1]);
}

static void a_slot_is_never_mistaken_for_its_next_use(void **state)
{
    struct conn_table *t = *state;
    struct conn *c = add(t, 1, 1);
    uint32_t slot = c->slot, generation = c->generation;
    assert_ptr_equal(conn_find(t, slot, generation), c);
    conn_close(t, c);
    assert_null(conn_find(t, slot, generation));
    assert_null(conn_find(t, slot, generation + 1)); /* nobody's */
    assert_ptr_equal(add(t, 1, 2), c);
    assert_null(conn_find(t, slot, generation));
    assert_non_null(conn_find(t, slot, c->generation));
}

/* IPv6 clients are counted by /64, since one has as many addresses in it as it likes. */
static void an_ipv6_network_is_one_client(void **state)
{
    struct conn_table *t = *state;
    struct sockaddr_in6 peer = { .sin6_family = AF_INET6 };
    peer.sin6_addr.s6_addr[0] = 0xfd;
    for (uint8_t i = 0; i < 3; i++) {
        peer.sin6_addr.s6_addr[15] = i;
        assert_null(conn_victim(t, (const struct sockaddr *)&peer));
        struct channel channel = { .fd = eventfd(0, EFD_CLOEXEC), .ready = true };
        (void)conn_add(t, &channel, (const struct sockaddr *)&peer, i);
    }
    peer.sin6_addr.s6_addr[8] = 1;
    assert_ptr_equal(conn_victim(t, (const struct sockaddr *)&peer), t->all.oldest);
    peer.sin6_addr.s6_addr[7] = 1; /* another network */
    assert_null(conn_victim(t, (const struct sockaddr *)&peer));
}

static void a_handshake_leaves_its_list_once(void **state)
{
    struct conn_table *t = *state;
    struct sockaddr_in peer = client4(1);
    struct conn *c[3];
    for (int i = 0; i < 3; i++) {
        struct channel channel = { .fd = eventfd(0, EFD_CLOEXEC) };
        c[i] = conn_add(t, &channel, (const struct sockaddr *)&peer, i);
    }
    assert_int_equal(t->greeting.n, 3);
    assert_ptr_equal(t->greeting.oldest, c[0]);
    conn_greeted(t, c[0]);
    conn_greeted(t, c[0]);
    assert_int_equal(t->greeting.n, 2);
    conn_close(t, c[0]);
    conn_close(t, c[2]); /* before it was done */
    assert_int_equal(t->greeting.n, 1);
    assert_ptr_equal(t->greeting.oldest, c[1]);
    assert_ptr_equal(t->greeting.newest, c[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_client_makes_room_for_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(the_oldest_of_all_makes_room, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slot_is_never_mistaken_for_its_next_use, setup, teardown),
        cmocka_unit_test_setup_teardown(an_ipv6_network_is_one_client, setup, teardown),
        cmocka_unit_test_setup_teardown(a_handshake_leaves_its_list_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
