/* resolve against a name server that the test plays itself, in the same loop, over UDP and TCP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/buf.h"
#include "common/net/listen.h"
#include "common/net/resolve.h"

#define GUARD_MS 120000

/* What the server does with a question. */
enum act { ACT_ANSWER, ACT_MUTE, ACT_TRUNCATE, ACT_WRONG_ID, ACT_GARBAGE };

struct plan {
    enum act act;
    unsigned rcode;
    const char *strings[6]; /* "" ends a record; NULL ends all */
    unsigned drop;          /* questions that are not answered at first */
};

struct fix {
    struct loop *loop;
    struct loop_timer *guard;
    struct addr server;
    int udp, tcp;
    struct event *udp_ev, *tcp_ev;
    const struct plan *plan;
    unsigned n_udp, n_tcp, n_done;
    enum err e;
    char text[512], values[512]; /* values joined by '|' */
    struct resolve_op *other;
};

static void on_guard(void *arg)
{
    (void)arg;
    fprintf(stderr, "the test did not end\n");
    abort();
}

/* Header, the question as asked, TXT records by compression. */
static void write_answer(const struct plan *p, struct buf *out, const uint8_t *q, size_t q_end,
                         bool truncated)
{
    unsigned n = 0;
    for (size_t i = 0; !truncated && p->strings[i] != NULL; i++)
        n += p->strings[i][0] == 0;
    uint8_t head[12] = { q[0],
                         q[1],
                         (uint8_t)(0x84 | (truncated ? 2 : 0)),
                         (uint8_t)p->rcode,
                         0,
                         1,
                         0,
                         (uint8_t)n,
                         0,
                         0,
                         0,
                         0 };
    if (p->act == ACT_WRONG_ID)
        head[0] ^= 0xff;
    buf_add(out, head, sizeof head);
    buf_add(out, q + 12, q_end - 12);
    for (size_t i = 0; n > 0 && p->strings[i] != NULL;) {
        struct buf rdata;
        buf_init(&rdata, 2048);
        for (; p->strings[i][0] != 0; i++) {
            uint8_t len = (uint8_t)strlen(p->strings[i]);
            buf_add(&rdata, &len, 1);
            buf_add(&rdata, p->strings[i], len);
        }
        i++;
        uint8_t rr[12] = {
            0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 1, (uint8_t)(rdata.len >> 8), (uint8_t)rdata.len
        };
        buf_add(out, rr, sizeof rr);
        buf_add_span(out, buf_span(&rdata));
        buf_clear(&rdata);
    }
}

static size_t question_end(const uint8_t *q, size_t len)
{
    size_t at = 12;
    while (at < len && q[at] != 0)
        at += 1u + q[at];
    assert_true(at + 5 <= len);
    return at + 5;
}

static void on_udp(evutil_socket_t fd, short what, void *arg)
{
    struct fix *fx = arg;
    uint8_t q[1500];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof from;
    (void)what;
    ssize_t n = recvfrom(fd, q, sizeof q, 0, (struct sockaddr *)&from, &from_len);
    if (n < 17)
        return;
    fx->n_udp++;
    if (fx->plan->act == ACT_MUTE || fx->n_udp <= fx->plan->drop)
        return;
    struct buf out;
    buf_init(&out, 65535);
    if (fx->plan->act == ACT_GARBAGE)
        buf_add(&out, q, 7);
    else
        write_answer(fx->plan, &out, q, question_end(q, (size_t)n), fx->plan->act == ACT_TRUNCATE);
    (void)sendto(fd, out.p, out.len, 0, (const struct sockaddr *)&from, from_len);
    buf_clear(&out);
}

/* The question over TCP is here, in one piece as c-ares sends it. */
static void on_tcp_question(evutil_socket_t s, short what, void *arg)
{
    struct fix *fx = arg;
    uint8_t q[1500];
    (void)what;
    ssize_t n = recv(s, q, sizeof q, 0);
    if (n > 19) {
        struct buf out;
        fx->n_tcp++;
        buf_init(&out, 65535);
        buf_add(&out, "\0\0", 2);
        write_answer(fx->plan, &out, q + 2, question_end(q + 2, (size_t)n - 2), false);
        out.p[0] = (uint8_t)((out.len - 2) >> 8);
        out.p[1] = (uint8_t)(out.len - 2);
        (void)send(s, out.p, out.len, MSG_NOSIGNAL);
        buf_clear(&out);
    }
    close(s);
}

static void on_tcp(evutil_socket_t fd, short what, void *arg)
{
    struct fix *fx = arg;
    (void)what;
    int s = accept(fd, NULL, NULL);
    assert_int_equal(event_base_once(loop_base(fx->loop), s, EV_READ, on_tcp_question, fx, NULL),
                     0);
}

/* The same free port for UDP and TCP. */
static void bind_both(struct fix *fx)
{
    for (int i = 0; i < 100; i++) {
        assert_int_equal(addr_parse(&fx->server, "127.0.0.1:0", NULL), ERR_OK);
        assert_int_equal(listen_udp(&fx->udp, &fx->server, false, 0, NULL), ERR_OK);
        fx->server.len = sizeof fx->server.ss;
        assert_int_equal(getsockname(fx->udp, (struct sockaddr *)&fx->server.ss, &fx->server.len),
                         0);
        if (listen_tcp(&fx->tcp, &fx->server, false, NULL) == ERR_OK)
            return;
        close(fx->udp);
    }
    fail_msg("no port for both");
}

static int set_up(void **state)
{
    struct fix *fx = calloc(1, sizeof *fx);
    assert_non_null(fx);
    assert_int_equal(loop_new(&fx->loop), ERR_OK);
    assert_int_equal(loop_timer_new(&fx->guard, fx->loop, on_guard, fx), ERR_OK);
    loop_timer_set(fx->guard, GUARD_MS);
    bind_both(fx);
    fx->udp_ev = event_new(loop_base(fx->loop), fx->udp, EV_READ | EV_PERSIST, on_udp, fx);
    fx->tcp_ev = event_new(loop_base(fx->loop), fx->tcp, EV_READ | EV_PERSIST, on_tcp, fx);
    assert_int_equal(event_add(fx->udp_ev, NULL) | event_add(fx->tcp_ev, NULL), 0);
    *state = fx;
    return 0;
}

static int tear_down(void **state)
{
    struct fix *fx = *state;
    event_free(fx->udp_ev);
    event_free(fx->tcp_ev);
    if (fx->udp >= 0)
        close(fx->udp);
    if (fx->tcp >= 0)
        close(fx->tcp);
    loop_timer_free(fx->guard);
    loop_free(fx->loop);
    free(fx);
    return 0;
}

static void on_done(void *arg, const struct resolve_result *res)
{
    struct fix *fx = arg;
    size_t n = 0;
    fx->n_done++;
    fx->e = res->e;
    (void)snprintf(fx->text, sizeof fx->text, "%s", res->info.text);
    fx->values[0] = 0;
    for (size_t i = 0; i < res->n_values; i++)
        n += (size_t)snprintf(fx->values + n, sizeof fx->values - n, "%s|", res->values[i]);
    resolve_cancel(fx->other);
    fx->other = NULL;
    loop_stop(fx->loop);
}

static void ask(struct fix *fx, const struct plan *plan, int64_t timeout_ms)
{
    fx->plan = plan;
    fx->n_done = fx->n_udp = fx->n_tcp = 0;
    assert_int_equal(resolve_txt(fx->loop, &fx->server, "_acme-challenge.x.example", timeout_ms,
                                 on_done, fx, NULL),
                     ERR_OK);
    assert_int_equal(fx->n_done, 0); /* later, from the loop */
    loop_run(fx->loop);
    assert_int_equal(fx->n_done, 1);
}

static void test_answers(void **state)
{
    static const struct {
        const char *why;
        struct plan plan;
        enum err e;
        const char *values;
        unsigned n_tcp;
    } CASES[] = {
        { "one value", { .strings = { "abc", "", NULL } }, ERR_OK, "abc|", 0 },
        { "strings of a record are joined",
          { .strings = { "abc", "def", "", NULL } },
          ERR_OK,
          "abcdef|",
          0 },
        { "two records are two values",
          { .strings = { "abc", "", "def", "", NULL } },
          ERR_OK,
          "abc|def|",
          0 },
        { "truncated: asked again over TCP",
          { .act = ACT_TRUNCATE, .strings = { "abc", "", NULL } },
          ERR_OK,
          "abc|",
          1 },
        { "lost: asked again", { .strings = { "abc", "", NULL }, .drop = 2 }, ERR_OK, "abc|", 0 },
        { "no such record", { .strings = { NULL } }, ERR_NOTFOUND, "", 0 },
        { "no such name", { .rcode = 3 }, ERR_NOTFOUND, "", 0 },
        { "the server fails", { .rcode = 2 }, ERR_REMOTE, "", 0 },
        { "the server refuses", { .rcode = 5 }, ERR_REMOTE, "", 0 },
        { "the server does not know how", { .rcode = 4 }, ERR_REMOTE, "", 0 },
    };
    struct fix *fx = *state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        ask(fx, &CASES[i].plan, 8000);
        if (fx->e != CASES[i].e || strcmp(fx->values, CASES[i].values) != 0 ||
            fx->n_tcp != CASES[i].n_tcp)
            fail_msg("%s: %s '%s' %s, %u by TCP", CASES[i].why, err_name(fx->e), fx->values,
                     fx->text, fx->n_tcp);
    }
}

static void test_no_answer(void **state)
{
    static const struct {
        const char *why;
        struct plan plan;
    } CASES[] = {
        { "silence", { .act = ACT_MUTE } },
        { "another's answer", { .act = ACT_WRONG_ID, .strings = { "abc", "", NULL } } },
        { "not DNS", { .act = ACT_GARBAGE } },
    };
    struct fix *fx = *state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        ask(fx, &CASES[i].plan, 1200);
        if (fx->e != ERR_TIMEOUT || fx->n_udp < 2)
            fail_msg("%s: %s %s, asked %u times", CASES[i].why, err_name(fx->e), fx->text,
                     fx->n_udp);
    }
    assert_non_null(strstr(fx->text, "127.0.0.1:")); /* who did not answer */
}

static void test_no_server(void **state)
{
    static const struct plan PLAN = { .act = ACT_MUTE };
    struct fix *fx = *state;
    (void)event_del(fx->udp_ev);
    (void)event_del(fx->tcp_ev);
    close(fx->udp);
    close(fx->tcp);
    fx->udp = fx->tcp = -1;
    ask(fx, &PLAN, 2000);
    assert_int_equal(fx->e, ERR_UNAVAILABLE);
}

static void test_cancel(void **state)
{
    static const struct plan PLAN = { .strings = { "abc", "", NULL } };
    struct fix *fx = *state;
    struct resolve_op *op = NULL;
    fx->plan = &PLAN;
    assert_int_equal(resolve_txt(fx->loop, &fx->server, "a.example", 1000, on_done, fx, &op),
                     ERR_OK);
    resolve_cancel(op);
    resolve_cancel(NULL);
    /* one more, whose packets are lost, is ended from the callback of the next */
    struct addr nowhere;
    assert_int_equal(addr_parse(&nowhere, "192.0.2.1:53", NULL), ERR_OK);
    assert_int_equal(resolve_txt(fx->loop, &nowhere, "b.example", 9000, on_done, fx, &fx->other),
                     ERR_OK);
    ask(fx, &PLAN, 8000);
    assert_string_equal(fx->values, "abc|");
    assert_null(fx->other);
}

static void test_bad_names(void **state)
{
    static const struct {
        const char *why, *name;
    } CASES[] = {
        { "empty", "" },
        { "empty label", "a..example" },
        { "leading dot", ".example" },
        { "an escape", "a\\.example" },
        { "a space", "a b.example" },
        { "a label of 64",
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example" },
    };
    struct fix *fx = *state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if (resolve_txt(fx->loop, &fx->server, CASES[i].name, 1000, on_done, fx, NULL) !=
            ERR_INVALID)
            fail_msg("%s", CASES[i].why);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = { T(test_answers), T(test_no_answer), T(test_no_server),
                                        T(test_cancel), T(test_bad_names) };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
