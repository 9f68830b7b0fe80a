#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dnsview.h"

#define ID DNSVIEW_ID
#define D ".direct.example"
#define NOW 1700000000
#define TYPE_TXT 16

struct fixture {
    struct view *view;
    struct query_ctx ctx;
    struct peer peer;
    uint8_t ip[4];
    uint8_t request[512], reply[1232];
    size_t request_len, reply_len;
};

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);
    fx->view = dnsview_new();
    struct shield *s = &fx->view->shield;
    s->cookies.n = 1;
    s->rrl = (struct rrl_policy){ .per_second = 10, .slip = 2 };
    strcpy(s->identity.nsid, "ams1");
    strcpy(s->identity.version, "Lanyard");
    strcpy(s->identity.hostname, "ns1.ams");
    memcpy(fx->ip, "\300\0\2\1", 4);
    fx->peer.ip = (struct span){ fx->ip, 4 };
    fx->ctx.view = fx->view;
    fx->ctx.now_s = NOW;
    assert_int_equal(rrl_new(&fx->ctx.rrl, 1), ERR_OK);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    view_free(fx->view);
    rrl_free(fx->ctx.rrl);
    free(fx);
    return 0;
}

/* What the reply's OPT holds, read here from its bytes. */
struct seen {
    unsigned rcode; /* all 12 bits */
    bool tc, edns;
    int ede; /* -1 for none */
    struct span cookie, nsid;
    unsigned n_options;
};

static size_t skip_name(const uint8_t *p, size_t at)
{
    for (; p[at] != 0; at += 1u + p[at]) {
        if (p[at] >= 0xc0)
            return at + 2;
    }
    return at + 1;
}

static struct seen look(const uint8_t *p, size_t len)
{
    struct seen s = { .rcode = p[3] & 15u, .tc = (p[2] & 2) != 0, .ede = -1 };
    size_t at = 12;
    for (unsigned i = 0; i < p[5]; i++)
        at = skip_name(p, at) + 4;
    unsigned n = (unsigned)p[7] + p[9] + p[11];
    for (unsigned i = 0; i < n; i++) {
        at = skip_name(p, at);
        size_t end = at + 10 + (size_t)(p[at + 8] << 8 | p[at + 9]);
        assert_true(end <= len);
        if (p[at + 1] == RR_OPT) {
            s.edns = true;
            s.rcode |= (unsigned)p[at + 4] << 4;
            for (size_t o = at + 10; o < end; s.n_options++) {
                size_t n_data = (size_t)(p[o + 2] << 8 | p[o + 3]);
                struct span data = { p + o + 4, n_data };
                if (p[o + 1] == EDNS_EDE)
                    s.ede = data.p[0] << 8 | data.p[1];
                else if (p[o + 1] == EDNS_COOKIE)
                    s.cookie = data;
                else if (p[o + 1] == EDNS_NSID)
                    s.nsid = data;
                o += 4 + n_data;
                assert_true(o <= end);
            }
        }
        at = end;
    }
    assert_int_equal(at, len);
    return s;
}

/* A question with `options` (NULL: no OPT at all); "" as its name leaves the question out. */
static struct seen ask(struct fixture *fx, const char *name, unsigned type, unsigned class,
                       const char *options, size_t n_options)
{
    struct wire_writer w = { .p = fx->request, .cap = sizeof fx->request };
    struct name n;
    wire_put(&w, "\x12\x34\0\0\0", 5);
    wire_put(&w, name[0] != 0 ? "\1\0\0\0\0\0" : "\0\0\0\0\0\0", 6);
    wire_put(&w, options != NULL ? "\1" : "\0", 1);
    if (name[0] != 0) {
        assert_int_equal(name_parse(&n, name), ERR_OK);
        wire_put(&w, n.wire, n.len);
        wire_put16(&w, type);
        wire_put16(&w, class);
    }
    if (options != NULL) {
        wire_put(&w, "\0\0\51\4\320\0\0\0\0", 9);
        wire_put16(&w, (unsigned)n_options);
        wire_put(&w, options, n_options);
    }
    assert_false(w.overflow);
    fx->request_len = w.len;
    struct span request = { fx->request, w.len };
    fx->reply_len = query_answer(&fx->ctx, fx->reply, sizeof fx->reply, request, &fx->peer);
    if (fx->ctx.deferred)
        fx->reply_len = query_end_challenge(&fx->ctx.challenge, NULL, 0, NULL, fx->reply, 1232);
    return fx->reply_len > 0 ? look(fx->reply, fx->reply_len) : (struct seen){ .ede = -1 };
}

#define O(s) (s), sizeof(s) - 1
#define NO_OPT NULL, 0
#define C8 "\0\12\0\10abcdefgh" /* a client cookie */
#define NSID "\0\3\0\0"

static void extended_errors(void **state)
{
    static const struct {
        const char *why, *name;
        unsigned type, class, rcode;
        int ede;
    } CASES[] = {
        { "an answer", "10-0-0-1." ID D, RR_A, RR_CLASS_IN, DNS_NOERROR, -1 },
        { "a missing name", "x" D, RR_A, RR_CLASS_IN, DNS_NXDOMAIN, -1 },
        { "not ours", "x.test", RR_A, RR_CLASS_IN, DNS_REFUSED, EDE_NOT_AUTHORITATIVE },
        { "a transfer", "direct.example", 252, RR_CLASS_IN, DNS_REFUSED, EDE_NOT_SUPPORTED },
        { "class HS", "direct.example", RR_A, 4, DNS_REFUSED, EDE_NOT_SUPPORTED },
        { "no store", "_acme-challenge." ID D, TYPE_TXT, RR_CLASS_IN, DNS_SERVFAIL, EDE_NOT_READY },
        { "NXNAME", "x" D, RR_NXNAME, RR_CLASS_IN, DNS_FORMERR, EDE_INVALID_QUERY_TYPE },
        { "OPT", "x" D, RR_OPT, RR_CLASS_IN, DNS_FORMERR, EDE_INVALID_QUERY_TYPE },
        { "type 0", "x" D, 0, RR_CLASS_IN, DNS_FORMERR, EDE_INVALID_QUERY_TYPE },
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct seen s = ask(fx, CASES[i].name, CASES[i].type, CASES[i].class, "", 0);
        if (s.rcode != CASES[i].rcode || s.ede != CASES[i].ede || !s.edns)
            fail_msg("%s: rcode %u, extended error %d", CASES[i].why, s.rcode, s.ede);
        s = ask(fx, CASES[i].name, CASES[i].type, CASES[i].class, NO_OPT);
        if (s.rcode != CASES[i].rcode || s.edns)
            fail_msg("%s, without EDNS: rcode %u", CASES[i].why, s.rcode);
    }
}

static void chaos(void **state)
{
    static const struct {
        const char *why, *name;
        unsigned type;
        const char *want; /* NULL: REFUSED */
    } CASES[] = {
        { "the version", "version.bind", TYPE_TXT, "Lanyard" },
        { "the same", "version.server", TYPE_TXT, "Lanyard" },
        { "the host", "hostname.bind", TYPE_TXT, "ns1.ams" },
        { "the same", "ID.Server", TYPE_TXT, "ns1.ams" },
        { "another type", "version.bind", RR_A, NULL },
        { "another name", "authors.bind", TYPE_TXT, NULL },
        { "below", "a.version.bind", TYPE_TXT, NULL },
        { "a name of a zone", "direct.example", TYPE_TXT, NULL },
    };
    struct fixture *fx = *state;
    for (unsigned off = 0; off < 2; off++) {
        for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
            const char *want = off ? NULL : CASES[i].want;
            struct seen s = ask(fx, CASES[i].name, CASES[i].type, RR_CLASS_CH, NO_OPT);
            if (s.rcode != (want != NULL ? DNS_NOERROR : DNS_REFUSED))
                fail_msg("%s: rcode %u", CASES[i].why, s.rcode);
            if (want == NULL)
                continue;
            uint8_t record[64] = { 0xc0, 12, 0, 16, 0, 3, 0, 0, 0, 0, 0 };
            size_t len = strlen(want);
            record[11] = (uint8_t)(len + 1);
            record[12] = (uint8_t)len;
            memcpy(record + 13, want, len);
            assert_int_equal(fx->reply_len, fx->request_len + 13 + len);
            assert_memory_equal(fx->reply + fx->request_len, record, 13 + len);
        }
        memset(&fx->view->shield.identity, 0, sizeof fx->view->shield.identity);
        fx->ctx.now_s++;
    }
    assert_int_equal(ask(fx, "version.bind", TYPE_TXT, RR_CLASS_IN, NO_OPT).rcode, DNS_REFUSED);
}

/* Case 6. */
static void cookies(void **state)
{
    static const struct {
        const char *why, *options;
        size_t len;
        unsigned rcode;
        bool cookie;
    } CASES[] = {
        { "a client cookie", O(C8), DNS_NOERROR, true },
        { "somebody else's server cookie", O("\0\12\0\20abcdefgh01234567"), DNS_NOERROR, true },
        { "the longest", O("\0\12\0\50abcdefgh01234567890123456789012345678901"), DNS_NOERROR,
          true },
        { "none", O(""), DNS_NOERROR, false },
        { "an empty one", O("\0\12\0\0"), DNS_FORMERR, false },
        { "7 bytes", O("\0\12\0\7abcdefg"), DNS_FORMERR, false },
        { "9 bytes", O("\0\12\0\11abcdefghi"), DNS_FORMERR, false },
        { "15 bytes", O("\0\12\0\17abcdefghijklmno"), DNS_FORMERR, false },
        { "41 bytes", O("\0\12\0\51abcdefgh012345678901234567890123456789012"), DNS_FORMERR,
          false },
        { "the first of two counts", O(C8 "\0\12\0\7abcdefg"), DNS_NOERROR, true },
        { "also when it is the bad one", O("\0\12\0\7abcdefg" C8), DNS_FORMERR, false },
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct seen s =
            ask(fx, "10-0-0-1." ID D, RR_A, RR_CLASS_IN, CASES[i].options, CASES[i].len);
        if (s.rcode != CASES[i].rcode || !s.edns || (s.cookie.len == COOKIE_LEN) != CASES[i].cookie)
            fail_msg("%s: rcode %u, %zu bytes of cookie", CASES[i].why, s.rcode, s.cookie.len);
        if (s.cookie.p != NULL)
            assert_memory_equal(s.cookie.p, "abcdefgh\1\0\0\0", 12);
        fx->ctx.now_s++;
    }
    /* a question for nothing but a cookie [RFC 7873 s5.4] */
    struct seen s = ask(fx, "", 0, 0, O(C8));
    assert_int_equal(s.rcode, DNS_NOERROR);
    assert_int_equal(s.cookie.len, COOKIE_LEN);
    assert_int_equal(ask(fx, "", 0, 0, O("")).rcode, DNS_FORMERR);
    assert_int_equal(ask(fx, "", 0, 0, NO_OPT).rcode, DNS_FORMERR);
    /* also in the reply to a challenge, of which the reader knows what was asked */
    s = ask(fx, "_acme-challenge." ID D, TYPE_TXT, RR_CLASS_IN, O(C8));
    assert_int_equal(s.cookie.len, COOKIE_LEN);
    /* without an address there is nothing to tie it to */
    fx->peer.ip.len = 0;
    assert_null(ask(fx, "x" D, RR_A, RR_CLASS_IN, O(C8)).cookie.p);
}

/* Case 4. */
static void stacked_options_are_answered_once(void **state)
{
    struct fixture *fx = *state;
    char options[400];
    size_t len = 0;
    for (unsigned i = 0; i < 20; i++) {
        memcpy(options + len, NSID C8, 4 + 12);
        len += 16;
    }
    struct seen s = ask(fx, "10-0-0-1." ID D, RR_A, RR_CLASS_IN, options, len);
    assert_int_equal(s.rcode, DNS_NOERROR);
    assert_int_equal(s.n_options, 2);
    assert_true(fx->reply_len <= 163);
    assert_int_equal(s.nsid.len, 4);
    assert_memory_equal(s.nsid.p, "ams1", 4);
    assert_null(ask(fx, "x" D, RR_A, RR_CLASS_IN, O(C8)).nsid.p); /* who does not ask */
    /* the longest of everything fits, in the smallest reply too */
    memset(fx->view->shield.identity.nsid, 'n', IDENTITY_TEXT_MAX);
    char name[256] = "", label[] = "a.";
    while (strlen(name) < 230)
        strcat(name, label);
    strcat(name, "x.example");
    s = ask(fx, name, RR_A, RR_CLASS_IN, O(NSID C8));
    assert_int_equal(s.rcode, DNS_REFUSED);
    assert_int_equal(s.n_options, 3);
    assert_int_equal(s.nsid.len, IDENTITY_TEXT_MAX);
}

/* Case 5, and 6: what a client gets past its limit. */
static void too_many_questions(void **state)
{
    static const struct {
        const char *why, *name;
        unsigned type;
        const char *options;
        size_t len;
        bool more; /* the reply tells a cookie: 16 bytes more */
    } CASES[] = {
        { "addresses", "10-0-0-1." ID D, RR_A, O(""), false },
        { "addresses without EDNS", "10-0-0-1." ID D, RR_A, NO_OPT, false },
        { "ANY", "direct.example", RR_ANY, O(NSID), false },
        { "missing names", "x" D, RR_A, O(""), false },
        { "challenges", "_acme-challenge." ID D, TYPE_TXT, O(""), false },
        { "the largest", "big" D, TYPE_TXT, O(""), false },
        { "referrals", "a.acme" D, RR_A, O(""), false },
        { "not ours", "x.test", RR_A, O(""), false },
        { "with half a cookie", "10-0-0-1." ID D, RR_A, O(C8 NSID), true },
        { "with a stale one", "x" D, RR_A, O("\0\12\0\30abcdefgh0123456701234567"), false },
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        fx->ctx.now_s += 1;
        bool stale = CASES[i].options != NULL && CASES[i].len == 28;
        unsigned n_full = 0, n_small = 0;
        size_t n_in = 0, n_out = 0;
        for (unsigned k = 0; k < 50; k++) {
            struct seen s =
                ask(fx, CASES[i].name, CASES[i].type, RR_CLASS_IN, CASES[i].options, CASES[i].len);
            if (k < 10) {
                n_full += fx->reply_len > 0;
                continue;
            }
            n_in += fx->request_len;
            n_out += fx->reply_len;
            if (fx->reply_len == 0)
                continue;
            n_small++;
            bool cookie = CASES[i].more || stale;
            if (s.tc == cookie || (s.rcode == DNS_BADCOOKIE) != cookie ||
                (s.cookie.len == COOKIE_LEN) != cookie || (s.n_options == 1) != cookie ||
                fx->reply_len > fx->request_len + (CASES[i].more ? 16 : 0))
                fail_msg("%s: %zu bytes for %zu, rcode %u", CASES[i].why, fx->reply_len,
                         fx->request_len, s.rcode);
        }
        if (n_full != 10 || n_small != 20 || n_out > n_in)
            fail_msg("%s: %u full, %u small, %zu bytes for %zu", CASES[i].why, n_full, n_small,
                     n_out, n_in);
    }
}

static void who_is_not_limited(void **state)
{
    struct fixture *fx = *state;
    char option[28] = "\0\12\0\30";
    struct seen s = ask(fx, "x" D, RR_A, RR_CLASS_IN, O(C8));
    memcpy(option + 4, s.cookie.p, COOKIE_LEN);
    for (unsigned i = 0; i < 100; i++) {
        s = ask(fx, "x" D, RR_A, RR_CLASS_IN, option, sizeof option);
        assert_int_equal(s.rcode, DNS_NXDOMAIN); /* a valid cookie */
        assert_memory_equal(s.cookie.p, option + 4, COOKIE_LEN);
    }
    fx->ip[3]++; /* somebody else's */
    for (unsigned i = 0; i < 100; i++)
        s = ask(fx, "x" D, RR_A, RR_CLASS_IN, option, sizeof option);
    assert_true(fx->reply_len == 0 || s.rcode == DNS_BADCOOKIE);
    for (unsigned i = 0; i < 100; i++) { /* an error is never sent instead */
        (void)ask(fx, "x" D, RR_OPT, RR_CLASS_IN, NO_OPT);
        assert_true((fx->reply_len == 0) == (i >= 10));
    }
    fx->peer.stream = true;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(ask(fx, "x" D, RR_A, RR_CLASS_IN, NO_OPT).rcode, DNS_NXDOMAIN);
    fx->peer.stream = false;
    fx->view->shield.rrl.per_second = 0;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(ask(fx, "x" D, RR_A, RR_CLASS_IN, NO_OPT).rcode, DNS_NXDOMAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(extended_errors),
        T(chaos),
        T(cookies),
        T(stacked_options_are_answered_once),
        T(too_many_questions),
        T(who_is_not_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
