#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dnsview.h"

#define ID DNSVIEW_ID
#define D ".direct.example"
#define PERSIST "_validation-persist." ID ".open.example"
#define SOA " | direct.example. SOA"
#define QTYPE_ANY 255

struct fixture {
    struct view *view;
    struct query_ctx ctx;
    uint8_t request[1024];
    uint8_t reply[65535];
    struct peer peer;
};

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof *fx);
    fx->view = dnsview_new();
    fx->ctx.view = fx->view;
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    view_free(fx->view);
    free(fx);
    return 0;
}

/* A question by ldns; `udp_len` 0 sends no OPT. Returns its length. */
static size_t make_request(struct fixture *fx, const char *name, unsigned type, unsigned udp_len)
{
    ldns_pkt *p = NULL;
    uint8_t *wire = NULL;
    size_t len;
    assert_int_equal(
        ldns_pkt_query_new_frm_str(&p, name, (ldns_rr_type)type, LDNS_RR_CLASS_IN, LDNS_RD),
        LDNS_STATUS_OK);
    ldns_pkt_set_id(p, 0x1234);
    ldns_pkt_set_edns_udp_size(p, (uint16_t)udp_len);
    assert_int_equal(ldns_pkt2wire(&wire, p, &len), LDNS_STATUS_OK);
    assert_true(len <= sizeof fx->request);
    memcpy(fx->request, wire, len);
    free(wire);
    ldns_pkt_free(p);
    return len;
}

static void add_section(char *out, size_t cap, const ldns_rr_list *list)
{
    for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
        char *text = ldns_rr2str(ldns_rr_list_rr(list, i));
        /* "NAME TTL IN TYPE DATA"; of a SOA only NAME TYPE TTL, since the data is always the same
         */
        char name[256], type[16], data[1024] = "";
        unsigned ttl;
        assert_true(sscanf(text, "%255s %u IN %15s %1023[^\n]", name, &ttl, type, data) >= 3);
        size_t n = strlen(out);
        if (strcmp(type, "SOA") == 0)
            (void)snprintf(out + n, cap - n, " | %s SOA %u", name, ttl);
        else
            (void)snprintf(out + n, cap - n, " | %s %u %s %s", name, ttl, type, data);
        free(text);
    }
}

/* The reply in words, as ldns reads it: "RCODE FLAGS | answer || authority || additional". */
static void describe(char *out, size_t cap, const uint8_t *reply, size_t len)
{
    ldns_pkt *p = NULL;
    ldns_status s = ldns_wire2pkt(&p, reply, len);
    if (s != LDNS_STATUS_OK) {
        (void)snprintf(out, cap, "ldns: %s", ldns_get_errorstr_by_id(s));
        return;
    }
    char *rcode = ldns_pkt_rcode2str(ldns_pkt_get_rcode(p));
    (void)snprintf(out, cap, "%s%s%s%s", ldns_pkt_edns_extended_rcode(p) == 1 ? "BADVERS" : rcode,
                   ldns_pkt_aa(p) ? " aa" : "", ldns_pkt_tc(p) ? " tc" : "",
                   ldns_pkt_edns(p) ? " edns" : "");
    free(rcode);
    add_section(out, cap, ldns_pkt_answer(p));
    if (ldns_pkt_nscount(p) > 0)
        strcat(out, " |");
    add_section(out, cap, ldns_pkt_authority(p));
    if (ldns_rr_list_rr_count(ldns_pkt_additional(p)) > 0)
        strcat(out, " ||");
    add_section(out, cap, ldns_pkt_additional(p));
    ldns_pkt_free(p);
}

static size_t ask(struct fixture *fx, const char *name, unsigned type, unsigned udp_len)
{
    size_t len = make_request(fx, name, type, udp_len);
    return query_answer(&fx->ctx, fx->reply, sizeof fx->reply, (struct span){ fx->request, len },
                        &fx->peer);
}

/* What one question is, and the reply in describe()'s words. */
struct row {
    const char *why, *name;
    unsigned type;
    const char *want;
};

static const struct row DEVICES[] = {
    { "a private address", "192-168-1-5." ID D, RR_A,
      "NOERROR aa | 192-168-1-5." ID D ". 86400 A 192.168.1.5" },
    { "its IPv6", "fd00--1." ID D, RR_AAAA, "NOERROR aa | fd00--1." ID D ". 86400 AAAA fd00::1" },
    { "TXT at an address", "10-0-0-1." ID D, RR_TXT,
      "NOERROR aa | 10-0-0-1." ID D ". 86400 TXT \"lanyard\"" },
    { "the other family", "10-0-0-1." ID D, RR_AAAA, "NOERROR aa |" SOA " 300" },
    { "the other family, IPv6", "fd00--1." ID D, RR_A, "NOERROR aa |" SOA " 300" },
    { "any other type", "10-0-0-1." ID D, 65, "NOERROR aa |" SOA " 300" },
    { "RRSIG is as small as any", "10-0-0-1." ID D, RR_RRSIG, "NOERROR aa |" SOA " 300" },
    { "ANY", "10-0-0-1." ID D, QTYPE_ANY,
      "NOERROR aa | 10-0-0-1." ID D ". 3600 HINFO \"RFC8482\" \"\"" },
    { "a public address", "8-8-8-8." ID D, RR_A, "NXDOMAIN aa |" SOA " 60" },
    { "a public address where all are answered", "8-8-8-8." ID ".open.example", RR_A,
      "NOERROR aa | 8-8-8-8." ID ".open.example. 3600 A 8.8.8.8" },
    { "loopback where it is", "0--1." ID ".open.example", RR_AAAA,
      "NOERROR aa | 0--1." ID ".open.example. 86400 AAAA ::1" },
    { "loopback where it is not", "127-0-0-1." ID D, RR_A, "NXDOMAIN aa |" SOA " 60" },
    { "not an address", "1-2-3-256." ID D, RR_A, "NXDOMAIN aa |" SOA " 60" },
    { "a challenge's other types", "_acme-challenge." ID D, RR_A, "NOERROR aa |" SOA " 1" },
    { "a challenge without a store", "_acme-challenge." ID ".open.example", RR_TXT,
      "NOERROR aa | | open.example. SOA 1" },
    { "an id", ID D, RR_A, "NOERROR aa |" SOA " 300" },
    { "an id has nothing for ANY either", ID D, QTYPE_ANY, "NOERROR aa |" SOA " 300" },
    { "below an id", "www." ID D, RR_A, "NXDOMAIN aa |" SOA " 60" },
    { "below an address", "a.10-0-0-1." ID D, RR_A, "NXDOMAIN aa |" SOA " 60" },
    { "anything else", "nothing" D, RR_A, "NXDOMAIN aa |" SOA " 60" },
    { "below a static name", "a.ns1" D, RR_A, "NXDOMAIN aa |" SOA " 60" },
    { "a public address with a tag", "pksjz766e-8-8-8-8." ID ".open.example", RR_A,
      "NOERROR aa | pksjz766e-8-8-8-8." ID ".open.example. 3600 A 8.8.8.8" },
    { "its TXT", "pksjz766e-8-8-8-8." ID ".open.example", RR_TXT,
      "NOERROR aa | pksjz766e-8-8-8-8." ID ".open.example. 86400 TXT \"lanyard\"" },
    { "its other types", "pksjz766e-8-8-8-8." ID ".open.example", RR_AAAA,
      "NOERROR aa | | open.example. SOA 3600" },
    { "a wrong tag", "pksjz766f-8-8-8-8." ID ".open.example", RR_A,
      "NXDOMAIN aa | | open.example. SOA 60" },
    { "a suspended range", "fd66--1." ID ".open.example", RR_AAAA,
      "NXDOMAIN aa | | open.example. SOA 60" },
    { "a suspended id", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz.open.example", RR_A,
      "NXDOMAIN aa | | open.example. SOA 60" },
    { "its accounts", "_validation-persist.zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz.open.example", RR_TXT,
      "NXDOMAIN aa | | open.example. SOA 60" },
    { "accounts where there are none", "_validation-persist." ID D, RR_TXT,
      "NXDOMAIN aa |" SOA " 60" },
    { "accounts", PERSIST, RR_TXT,
      "NOERROR aa"
      " | " PERSIST ". 60 TXT \"ca.test; accounturi=https://ca.test/acct/1; policy=wildcard\""
      " | " PERSIST ". 60 TXT \"ca.test; accounturi=https://ca.test/acct/2; policy=wildcard\""
      " | " PERSIST ". 60 TXT \"other.test; accounturi=https://other.test/9; policy=wildcard\"" },
    { "accounts' other types", PERSIST, RR_A, "NOERROR aa | | open.example. SOA 60" },
    { "ANY of accounts", PERSIST, QTYPE_ANY,
      "NOERROR aa | " PERSIST ". 3600 HINFO \"RFC8482\" \"\"" },
    { "below accounts", "a." PERSIST, RR_TXT, "NXDOMAIN aa | | open.example. SOA 60" },
    { "accounts of the apex", "_validation-persist.open.example", RR_TXT,
      "NXDOMAIN aa | | open.example. SOA 60" },
    { "its challenge", "_acme-challenge.zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz.open.example", RR_TXT,
      "NXDOMAIN aa | | open.example. SOA 60" },
};

static const struct row STATIC[] = {
    { "outside", "www.elsewhere.test", RR_A, "REFUSED" },
    { "the parent", "example", RR_A, "REFUSED" },
    { "the root", ".", RR_NS, "REFUSED" },
    { "the apex", "direct.example", RR_NS,
      "NOERROR aa | direct.example. 900 NS ns1.direct.example."
      " | direct.example. 900 NS ns.elsewhere.test." },
    { "its SOA", "direct.example", RR_SOA, "NOERROR aa | direct.example. SOA 600" },
    { "a type that the apex lacks", "direct.example", RR_AAAA, "NOERROR aa |" SOA " 300" },
    { "ANY at the apex", "direct.example", QTYPE_ANY,
      "NOERROR aa | direct.example. 3600 HINFO \"RFC8482\" \"\"" },
    { "a static name", "ns1" D, RR_AAAA, "NOERROR aa | ns1.direct.example. 900 AAAA 3ffe::1" },
    { "between the apex and a name", "ent" D, RR_TXT, "NOERROR aa |" SOA " 300" },
    { "ANY between", "ent" D, QTYPE_ANY, "NOERROR aa |" SOA " 300" },
    { "a CNAME is followed, in any case", "www" D, RR_A,
      "NOERROR aa | www.direct.example. 60 CNAME Ns1.direct.example."
      " | Ns1.direct.example. 900 A 192.88.99.1" },
    { "CNAME itself", "www" D, RR_CNAME,
      "NOERROR aa | www.direct.example. 60 CNAME Ns1.direct.example." },
    { "CNAME without the type", "www" D, RR_TXT,
      "NOERROR aa | www.direct.example. 60 CNAME Ns1.direct.example. |" SOA " 300" },
    { "CNAME to nowhere", "gone" D, RR_A,
      "NXDOMAIN aa | gone.direct.example. 60 CNAME missing.direct.example. |" SOA " 60" },
    { "CNAME out of the zone", "away" D, RR_A,
      "NOERROR aa | away.direct.example. 60 CNAME www.elsewhere.test." },
    { "CNAME into another zone of ours", "subbed" D, RR_A,
      "NOERROR aa | subbed.direct.example. 60 CNAME www.sub.direct.example." },
    { "CNAME to a device", "home" D, RR_A,
      "NOERROR aa | home.direct.example. 60 CNAME 10-0-0-5." ID D ". | 10-0-0-5." ID D
      ". 86400 A 10.0.0.5" },
    { "CNAME to a challenge: left to the resolver", "chal" D, RR_TXT,
      "NOERROR aa | chal.direct.example. 60 CNAME _acme-challenge." ID D "." },
    { "a delegation", "x.y.acme" D, RR_A,
      "NOERROR | | acme.direct.example. 60 NS ns1.acme.direct.example."
      " | acme.direct.example. 60 NS ns1.direct.example."
      " || | ns1.acme.direct.example. 60 A 192.88.99.7"
      " | ns1.direct.example. 900 A 192.88.99.1 | ns1.direct.example. 900 AAAA 3ffe::1" },
    { "glue is not ours to answer", "ns1.acme" D, RR_TXT,
      "NOERROR | | acme.direct.example. 60 NS ns1.acme.direct.example."
      " | acme.direct.example. 60 NS ns1.direct.example."
      " || | ns1.acme.direct.example. 60 A 192.88.99.7"
      " | ns1.direct.example. 900 A 192.88.99.1 | ns1.direct.example. 900 AAAA 3ffe::1" },
    { "DS is the parent's", "acme" D, RR_DS,
      "NOERROR aa | acme.direct.example. 60 DS 1 13 2 "
      "0000000000000000000000000000000000000000000000000000000000000000" },
    { "DS below a delegation is not ours", "x.acme" D, RR_DS,
      "NOERROR | | acme.direct.example. 60 NS ns1.acme.direct.example."
      " | acme.direct.example. 60 NS ns1.direct.example."
      " || | ns1.acme.direct.example. 60 A 192.88.99.7"
      " | ns1.direct.example. 900 A 192.88.99.1 | ns1.direct.example. 900 AAAA 3ffe::1" },
    { "DS of a zone that is ours as well", "sub" D, RR_DS, "NOERROR aa |" SOA " 300" },
    { "DS of the apex, whose parent is not ours", "direct.example", RR_DS,
      "NOERROR aa |" SOA " 300" },
    { "a zone below a zone", "www.sub" D, RR_A,
      "NOERROR aa | www.sub.direct.example. 3600 A 192.88.99.9" },
    { "and what it lacks", "a.sub" D, RR_A, "NXDOMAIN aa | | sub.direct.example. SOA 60" },
    { "AXFR", "direct.example", 252, "REFUSED" },
    { "IXFR", "direct.example", 251, "REFUSED" },
    { "MAILB", "direct.example", 253, "REFUSED" },
    { "TKEY", "direct.example", 249, "REFUSED" },
    { "OPT as a question", "direct.example", RR_OPT, "FORMERR" },
    { "type 65535", "direct.example", 65535, "NOERROR aa |" SOA " 300" },
};

static void check_rows(struct fixture *fx, const struct row *rows, size_t n_rows)
{
    char got[4096];
    for (size_t i = 0; i < n_rows; i++) {
        const struct row *row = &rows[i];
        for (unsigned stream = 0; stream < 2; stream++) {
            fx->peer.stream = stream != 0;
            size_t n = ask(fx, row->name, row->type, 0);
            describe(got, sizeof got, fx->reply, n);
            if (strcmp(got, row->want) != 0)
                fail_msg("%s (%s %u):\n  got  %s\n  want %s", row->why, row->name, row->type, got,
                         row->want);
        }
    }
}

static void names_of_devices(void **state)
{
    check_rows(*state, DEVICES, ARRAY_LEN(DEVICES));
}

static void static_names(void **state)
{
    check_rows(*state, STATIC, ARRAY_LEN(STATIC));
}

/* What a negative answer may have at most is up to the zone's SOA, the lower of its TTL and
 * MINIMUM; below that each kind of answer has a TTL of its own. [RFC 2308 s3] */
static void negative_ttls(void **state)
{
    static const struct {
        const char *why;
        unsigned ttl_s, minimum_s, nodata, missing, challenge, lacking;
    } CASES[] = {
        { "more than ours changes nothing", 7200, 86400, 3600, 60, 1, 7200 },
        { "as it is without a file", 3600, 3600, 3600, 60, 1, 3600 },
        { "MINIMUM", 600, 300, 300, 60, 1, 300 },
        { "the SOA's own TTL", 30, 300, 30, 30, 1, 30 },
        { "nothing may be kept", 600, 0, 0, 0, 0, 0 },
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char soa[128], want[64];
        (void)snprintf(soa, sizeof soa, "t.test. %u IN SOA ns.t.test. h.t.test. 1 2 3 4 %u",
                       CASES[i].ttl_s, CASES[i].minimum_s);
        const char *const records[] = { soa, "t.test. 60 IN NS ns.t.test." };
        struct zone **zones = calloc(1, sizeof(struct zone *));
        assert_non_null(zones);
        zones[0] = dnsview_zone("t.test", records, ARRAY_LEN(records));
        zones[0]->challenges = strdup("sqlite:challenges.db");
        struct view *v = NULL;
        assert_int_equal(zone_finish(zones[0], NULL), ERR_OK);
        assert_int_equal(view_new(&v, zones, 1), ERR_OK);
        fx->ctx.view = v;
        const struct {
            const char *name;
            unsigned type, ttl_s;
        } ROWS[] = {
            { "10-0-0-1." ID ".t.test", RR_AAAA, CASES[i].nodata },
            { ID ".t.test", RR_A, CASES[i].nodata },
            { "x.t.test", RR_A, CASES[i].missing },
            { "_acme-challenge." ID ".t.test", RR_A, CASES[i].challenge },
            { "_acme-challenge." ID ".t.test", RR_TXT, CASES[i].challenge },
            { "t.test", RR_A, CASES[i].lacking },
        };
        for (size_t k = 0; k < ARRAY_LEN(ROWS); k++) {
            char got[1024];
            size_t n = ask(fx, ROWS[k].name, ROWS[k].type, 0);
            if (fx->ctx.deferred)
                n = query_end_challenge(&fx->ctx.challenge, (struct span[1]){ { NULL, 0 } }, 0,
                                        NULL, fx->reply, sizeof fx->reply);
            describe(got, sizeof got, fx->reply, n);
            (void)snprintf(want, sizeof want, " aa | | t.test. SOA %u", ROWS[k].ttl_s);
            if (strstr(got, want) == NULL || strlen(strstr(got, want)) != strlen(want))
                fail_msg("%s, %s: %s, not %s", CASES[i].why, ROWS[k].name, got, want);
        }
        view_free(v);
        fx->ctx.view = fx->view;
    }
}

static void a_loop_of_cnames_ends(void **state)
{
    struct fixture *fx = *state;
    char got[4096];
    describe(got, sizeof got, fx->reply, ask(fx, "loop-a" D, RR_A, 0));
    assert_non_null(strstr(got, "NOERROR aa | loop-a.direct.example. 60 CNAME loop-b"));
    assert_true(strlen(got) < 1024);
}

/* A resolver that mixes case finds its own spelling in the reply, to the byte. [0x20] */
static void the_question_comes_back_as_asked(void **state)
{
    struct fixture *fx = *state;
    size_t len =
        make_request(fx, "10-0-0-1.aBcDeFgHiJkLmNoPqRsTuVwXyZ234567.DIRECT.eXample", RR_A, 0);
    size_t n = query_answer(&fx->ctx, fx->reply, 512, (struct span){ fx->request, len }, &fx->peer);
    assert_int_equal(n, len + 16);
    assert_memory_equal(fx->reply + 12, fx->request + 12, len - 12);
    assert_memory_equal(fx->reply, "\x12\x34\x85\x00\0\1\0\1\0\0\0\0", 12); /* QR AA RD */
    assert_memory_equal(fx->reply + len, "\xc0\x0c\0\1\0\1\0\1\x51\x80\0\4\x0a\0\0\1", 16);
    fx->request[2] = 0; /* without RD */
    n = query_answer(&fx->ctx, fx->reply, 512, (struct span){ fx->request, len }, &fx->peer);
    assert_int_equal(n, len + 16);
    assert_int_equal(fx->reply[2], 0x84);
    fx->request[2] =
        0x07; /* AA, TC, RD, and below RA, Z, AD, CD, an RCODE: none of it comes back */
    fx->request[3] = 0xff;
    n = query_answer(&fx->ctx, fx->reply, 512, (struct span){ fx->request, len }, &fx->peer);
    assert_int_equal(n, len + 16);
    assert_int_equal(fx->reply[2], 0x85);
    assert_int_equal(fx->reply[3], 0);
}

/* big.direct.example has 20 records of 213 bytes. */
static void what_does_not_fit_is_truncated(void **state)
{
    static const struct {
        const char *why, *name;
        unsigned type, udp_len;
        bool stream, tc;
    } CASES[] = {
        { "512 without EDNS", "big" D, RR_TXT, 0, false, true },
        { "1232 at most", "big" D, RR_TXT, 65535, false, true },
        { "less than 512 counts as 512", "acme" D, RR_A, 100, false, false },
        { "everything over TCP", "big" D, RR_TXT, 0, true, false },
        { "EDNS does not limit TCP", "big" D, RR_TXT, 512, true, false },
    };
    struct fixture *fx = *state;
    char got[16384];
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        fx->peer.stream = CASES[i].stream;
        size_t n = ask(fx, CASES[i].name, CASES[i].type, CASES[i].udp_len);
        describe(got, sizeof got, fx->reply, n);
        bool tc = strstr(got, " tc") != NULL, edns = strstr(got, " edns") != NULL;
        if (tc != CASES[i].tc || edns != (CASES[i].udp_len > 0) || (tc && strchr(got, '|') != NULL))
            fail_msg("%s: %zu bytes, %.200s", CASES[i].why, n, got);
    }
}

static void edns_is_answered_with_edns(void **state)
{
    struct fixture *fx = *state;
    static const struct {
        const char *name;
        unsigned type;
        unsigned ede; /* of an extended error behind it; 0 for none */
    } CASES[] = {
        { "10-0-0-1." ID D, RR_A, 0 }, { "x" D, RR_A, 0 },      { "x.test", RR_A, 20 },
        { "direct.example", 252, 21 }, { "x.acme" D, RR_A, 0 }, { "direct.example", RR_OPT, 30 },
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        size_t n = ask(fx, CASES[i].name, CASES[i].type, 4096);
        uint8_t opt[] = { 0, 0, 41, 1232 >> 8, 1232 & 255, 0, 0, 0, 0, 0, 0, 0, 15, 0, 2, 0, 0 };
        size_t len = CASES[i].ede != 0 ? sizeof opt : 11;
        opt[10] = (uint8_t)(len - 11);
        opt[16] = (uint8_t)CASES[i].ede;
        assert_true(n > 12 + len);
        assert_memory_equal(fx->reply + n - len, opt, len);
    }
}

/* Only where nobody can read along, and nobody can be flooded by it. [RFC 7830, RFC 8467] */
static void who_pads_is_padded_under_tls(void **state)
{
    static const uint8_t OPT_RECORD[] = { 0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 8 };
    static const struct {
        const char *why, *name;
        unsigned type;
        bool asks, stream, encrypted, padded;
    } CASES[] = {
        { "TLS", "10-0-0-1." ID D, RR_A, true, true, true, true },
        { "TLS, a large answer", "big" D, RR_TXT, true, true, true, true },
        { "TLS, an error", "www.elsewhere.test", RR_A, true, true, true, true },
        { "TLS, a challenge", "_acme-challenge." ID D, RR_TXT, true, true, true, true },
        { "TLS, and nobody asks", "10-0-0-1." ID D, RR_A, false, true, true, false },
        { "TCP", "10-0-0-1." ID D, RR_A, true, true, false, false },
        { "UDP", "10-0-0-1." ID D, RR_A, true, false, false, false },
        { "UDP, a challenge", "_acme-challenge." ID D, RR_TXT, true, false, false, false },
    };
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        size_t len = make_request(fx, CASES[i].name, CASES[i].type, 0);
        fx->request[11] = 1;
        memcpy(fx->request + len, OPT_RECORD, sizeof OPT_RECORD);
        len += sizeof OPT_RECORD;
        memset(fx->request + len, 0, 8);
        fx->request[len + 1] = CASES[i].asks ? EDNS_PADDING : 65; /* with 4 bytes */
        fx->request[len + 3] = 4;
        len += 8;
        fx->peer = (struct peer){ .stream = CASES[i].stream, .encrypted = CASES[i].encrypted };
        size_t n = query_answer(&fx->ctx, fx->reply, sizeof fx->reply,
                                (struct span){ fx->request, len }, &fx->peer);
        if (fx->ctx.deferred)
            n = query_end_challenge(&fx->ctx.challenge, NULL, 0, NULL, fx->reply, 1232);
        ldns_pkt *p = NULL;
        assert_int_equal(ldns_wire2pkt(&p, fx->reply, n), LDNS_STATUS_OK); /* and no byte is left */
        bool padded = n % EDNS_PAD_BLOCK == 0;
        const ldns_rdf *options = ldns_pkt_edns_data(p);
        size_t options_len = options == NULL ? 0 : ldns_rdf_size(options);
        if (padded != CASES[i].padded || (options_len > 10) != CASES[i].padded)
            fail_msg("%s: %zu bytes, %zu of options", CASES[i].why, n, options_len);
        ldns_pkt_free(p);
    }
}

/* With room for some of it only, for its head alone, and for nothing: never more than fits. */
static void padding_goes_where_there_is_room(void **state)
{
    struct fixture *fx = *state;
    const struct edns_options none = { .pads = true };
    for (size_t room = 0; room < 600; room++) {
        struct wire_writer w = { .p = fx->reply, .cap = 100 + EDNS_REPLY_LEN + room, .len = 100 };
        memset(fx->reply, 0xee, w.cap + 1);
        edns_write(&w, DNS_NOERROR, &none, EDE_NONE, false);
        size_t whole = EDNS_PAD_BLOCK - 100 - EDNS_REPLY_LEN;
        size_t want = room < 4 ? 0 : room < whole ? room : whole;
        assert_false(w.overflow);
        assert_int_equal(w.len, 100 + EDNS_REPLY_LEN + want);
        assert_int_equal(wire_load16(fx->reply + 100 + EDNS_REPLY_LEN - 2), want);
        assert_int_equal(fx->reply[w.len], 0xee);
    }
}

/* The 12 bytes of header, the question of direct.example A IN, and `tail`. */
#define ASKED "\6direct\7example\0\0\1\0\1"
#define HEAD(flags, qd, an, ns, ar) "\x12\x34" flags qd an ns ar
#define N0 "\0\0"
#define N1 "\0\1"
#define OPT "\0\0\51\20\0\0\0\0\0\0\0"

static void packets_of_every_kind(void **state)
{
#define P(s) (const uint8_t *)(s), sizeof(s) - 1
    static const struct {
        const char *why;
        const uint8_t *packet;
        size_t len;
        const char *want; /* "" is no reply */
    } CASES[] = {
        { "nothing", P(""), "" },
        { "one byte", P("\0"), "" },
        { "eleven bytes", P("\x12\x34\0\0\0\1\0\0\0\0\0"), "" },
        { "a reply", P(HEAD("\x80\0", N1, N0, N0, N0) ASKED), "" },
        { "a broken reply", P(HEAD("\xff\xff", N0, N0, N0, N0)), "" },
        { "good", P(HEAD("\0\0", N1, N0, N0, N0) ASKED), "NOERROR aa |" SOA " 300" },
        { "good, EDNS", P(HEAD("\0\0", N1, N0, N0, N1) ASKED OPT), "NOERROR aa edns |" SOA " 300" },
        { "no question", P(HEAD("\0\0", N0, N0, N0, N0)), "FORMERR" },
        { "no question, EDNS", P(HEAD("\0\0", N0, N0, N0, N1) OPT), "FORMERR edns" },
        { "two questions", P(HEAD("\0\0", "\0\2", N0, N0, N0) ASKED ASKED), "FORMERR" },
        { "65535 questions", P(HEAD("\0\0", "\xff\xff", N0, N0, N0) ASKED), "FORMERR" },
        { "a question that is not there", P(HEAD("\0\0", N1, N0, N0, N0)), "FORMERR" },
        { "name cut short", P(HEAD("\0\0", N1, N0, N0, N0) "\6dire"), "FORMERR" },
        { "no class", P(HEAD("\0\0", N1, N0, N0, N0) "\0\0\1\0"), "FORMERR" },
        { "a pointer to itself", P(HEAD("\0\0", N1, N0, N0, N0) "\xc0\x0c\0\1\0\1"), "FORMERR" },
        { "a pointer behind a label", P(HEAD("\0\0", N1, N0, N0, N0) "\1a\xc0\x0c\0\1\0\1"),
          "FORMERR" },
        { "an extended label", P(HEAD("\0\0", N1, N0, N0, N0) "\x41\0\0\1\0\1"), "FORMERR" },
        { "an answer in the question",
          P(HEAD("\0\0", N1, N1, N0, N0) ASKED "\0\0\1\0\1\0\0\0\0\0\0"), "FORMERR" },
        { "an authority", P(HEAD("\0\0", N1, N0, N1, N0) ASKED "\0\0\1\0\1\0\0\0\0\0\0"),
          "FORMERR" },
        { "records that are not there", P(HEAD("\0\0", N1, "\xff\xff", "\xff\xff", N0) ASKED),
          "FORMERR" },
        { "additional that is not there", P(HEAD("\0\0", N1, N0, N0, N1) ASKED), "FORMERR" },
        { "additional cut short", P(HEAD("\0\0", N1, N0, N0, N1) ASKED "\0\0\51\20\0\0\0\0\0\0"),
          "FORMERR" },
        { "bytes behind the last record", P(HEAD("\0\0", N1, N0, N0, N0) ASKED "x"), "FORMERR" },
        { "bytes behind the OPT", P(HEAD("\0\0", N1, N0, N0, N1) ASKED OPT "x"), "FORMERR edns" },
        { "two OPT", P(HEAD("\0\0", N1, N0, N0, "\0\2") ASKED OPT OPT), "FORMERR edns" },
        { "OPT of another name", P(HEAD("\0\0", N1, N0, N0, N1) ASKED "\1a" OPT), "FORMERR" },
        { "OPT among the answers is no OPT", P(HEAD("\0\0", N1, N1, N0, N0) ASKED OPT), "FORMERR" },
        { "version 1", P(HEAD("\0\0", N1, N0, N0, N1) ASKED "\0\0\51\20\0\0\1\0\0\0\0"),
          "BADVERS edns" },
        { "version 255", P(HEAD("\0\0", N1, N0, N0, N1) ASKED "\0\0\51\20\0\0\377\0\0\0\0"),
          "BADVERS edns" },
        { "DO", P(HEAD("\0\0", N1, N0, N0, N1) ASKED "\0\0\51\20\0\0\0\x80\0\0\0"),
          "NOERROR aa edns |" SOA " 300" },
        { "an option", P(HEAD("\0\0", N1, N0, N0, N1) ASKED "\0\0\51\20\0\0\0\0\0\0\4\0\3\0\0"),
          "NOERROR aa edns |" SOA " 300" },
        { "an option longer than the record",
          P(HEAD("\0\0", N1, N0, N0, N1) ASKED "\0\0\51\20\0\0\0\0\0\0\4\0\3\0\1"),
          "FORMERR edns" },
        { "half an option", P(HEAD("\0\0", N1, N0, N0, N1) ASKED "\0\0\51\20\0\0\0\0\0\0\2\0\3"),
          "FORMERR edns" },
        { "a TSIG that nobody knows",
          P(HEAD("\0\0", N1, N0, N0, N1) ASKED "\1k\0\0\372\0\377\0\0\0\0\0\0"),
          "NOERROR aa |" SOA " 300" },
        { "a pointer as the owner of an additional record",
          P(HEAD("\0\0", N1, N0, N0, N1) ASKED "\xc0\xff\0\1\0\1\0\0\0\0\0\0"),
          "NOERROR aa |" SOA " 300" },
        { "class CH", P(HEAD("\0\0", N1, N0, N0, N0) "\7version\4bind\0\0\20\0\3"), "REFUSED" },
        { "class ANY", P(HEAD("\0\0", N1, N0, N0, N0) "\6direct\7example\0\0\1\0\377"), "REFUSED" },
        { "class NONE", P(HEAD("\0\0", N1, N0, N0, N0) "\6direct\7example\0\0\1\0\376"),
          "REFUSED" },
        { "class 0", P(HEAD("\0\0", N1, N0, N0, N0) "\6direct\7example\0\0\1\0\0"), "REFUSED" },
        { "type 0", P(HEAD("\0\0", N1, N0, N0, N0) "\6direct\7example\0\0\0\0\1"), "FORMERR" },
        { "IXFR with its SOA",
          P(HEAD("\0\0", N1, N0, N1, N0) "\6direct\7example\0\0\373\0\1"
                                         "\0\0\6\0\1\0\0\0\0\0\0"),
          "REFUSED" },
        { "IQUERY", P(HEAD("\x08\0", N1, N0, N0, N0) ASKED), "NOTIMPL" },
        { "STATUS", P(HEAD("\x10\0", N0, N0, N0, N0)), "NOTIMPL" },
        { "NOTIFY", P(HEAD("\x20\0", N1, N0, N0, N0) ASKED), "NOTIMPL" },
        { "UPDATE", P(HEAD("\x28\0", N1, N0, N0, N0) ASKED), "NOTIMPL" },
        { "DSO", P(HEAD("\x30\0", N0, N0, N0, N0)), "NOTIMPL" },
        { "opcode 15 and junk", P(HEAD("\x78\0", N1, N0, N0, N0) "\xff\xff"), "NOTIMPL" },
    };
    struct fixture *fx = *state;
    char got[1024];
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        /* exactly as large as the packet: valgrind and ASan see a byte too far */
        uint8_t *request = malloc(CASES[i].len + 1);
        memcpy(request + 1, CASES[i].packet, CASES[i].len);
        size_t n = query_answer(&fx->ctx, fx->reply, 512,
                                (struct span){ request + 1, CASES[i].len }, &fx->peer);
        got[0] = 0;
        if (n > 0)
            describe(got, sizeof got, fx->reply, n);
        if (strcmp(got, CASES[i].want) != 0)
            fail_msg("%s:\n  got  %s\n  want %s", CASES[i].why, got, CASES[i].want);
        if (n > 0 &&
            (memcmp(fx->reply, request + 1, 2) != 0 || ((fx->reply[2] ^ request[3]) & 0x78) != 0))
            fail_msg("%s: another id or opcode", CASES[i].why);
        free(request);
    }
}

/* Every byte of a good question set to every value: a reply or none, never a wild one. */
static void every_byte_changed(void **state)
{
    struct fixture *fx = *state;
    char got[8192];
    size_t len = make_request(fx, "10-0-0-1." ID D, RR_A, 1232);
    for (size_t at = 0; at < len; at++) {
        uint8_t was = fx->request[at];
        for (unsigned v = 0; v < 256; v++) {
            fx->request[at] = (uint8_t)v;
            size_t n = query_answer(&fx->ctx, fx->reply, 1232, (struct span){ fx->request, len },
                                    &fx->peer);
            assert_true(n <= 1232);
            assert_true((n == 0) == ((fx->request[2] & 0x80) != 0));
            if (n > 0) {
                describe(got, sizeof got, fx->reply, n);
                assert_ptr_not_equal(strstr(got, "ldns: "), got);
            }
        }
        fx->request[at] = was;
    }
}

static void a_challenge_is_deferred_and_ended(void **state)
{
    static const char VALUE[] = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
    struct span values[8];
    struct fixture *fx = *state;
    char got[4096];
    for (size_t i = 0; i < 8; i++)
        values[i] = span_str(VALUE);
    fx->ctx.now_s = 77;
    assert_int_equal(ask(fx, "_Acme-Challenge." ID D, RR_TXT, 1232), 0);
    assert_true(fx->ctx.deferred);
    struct query_challenge c = fx->ctx.challenge;
    assert_string_equal(c.id, ID);
    assert_string_equal(c.zone->text, "direct.example");
    assert_int_equal(c.asked_at_s, 77);

    size_t n = query_end_challenge(&c, values, 2, NULL, fx->reply, sizeof fx->reply);
    describe(got, sizeof got, fx->reply, n);
    assert_string_equal(
        got, "NOERROR aa edns"
             " | _Acme-Challenge." ID D ". 1 TXT \"evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA\""
             " | _Acme-Challenge." ID D ". 1 TXT \"evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA\"");
    n = query_end_challenge(&c, values, 8, NULL, fx->reply, sizeof fx->reply);
    describe(got, sizeof got, fx->reply, n);
    assert_null(strstr(got, " tc")); /* eight values fit with EDNS */
    n = query_end_challenge(&c, values, 0, NULL, fx->reply, sizeof fx->reply);
    describe(got, sizeof got, fx->reply, n);
    assert_string_equal(got, "NOERROR aa edns |" SOA " 1");
    n = query_end_challenge(&c, NULL, 0, NULL, fx->reply, sizeof fx->reply);
    describe(got, sizeof got, fx->reply, n);
    assert_string_equal(got, "SERVFAIL edns");
    assert_memory_equal(fx->reply + 12, c.head + 12,
                        c.head_len - 12u); /* the case that was asked */

    /* without EDNS eight values are more than 512 bytes: TCP has them */
    assert_int_equal(ask(fx, "_acme-challenge." ID D, RR_TXT, 0), 0);
    n = query_end_challenge(&fx->ctx.challenge, values, 8, NULL, fx->reply, sizeof fx->reply);
    describe(got, sizeof got, fx->reply, n);
    assert_string_equal(got, "NOERROR aa tc");
    fx->peer.stream = true;
    assert_int_equal(ask(fx, "_acme-challenge." ID D, RR_TXT, 0), 0);
    n = query_end_challenge(&fx->ctx.challenge, values, 8, NULL, fx->reply, sizeof fx->reply);
    assert_int_equal(n, 12 + 16 + 33 + 16 + 4 + 8 * (12 + 44));
    /* the next question is not taken for a deferred one */
    assert_true(ask(fx, "10-0-0-1." ID D, RR_A, 0) > 0);
    assert_false(fx->ctx.deferred);
}

/* The OPT record counts as well: no reply is larger than the client takes, and what fits is sent.
 */
/* What an edge without a store says, and a zone at the end of its CNAMEs. */
static void challenges_elsewhere(void **state)
{
    static const struct row ROWS[] = {
        { "the values are elsewhere", "_acme-challenge." ID ".open.example", RR_TXT,
          "NOERROR aa | _acme-challenge." ID ".open.example. 300 CNAME " ID ".acme.other.test." },
        { "whatever is asked", "_acme-challenge." ID ".open.example", RR_A,
          "NOERROR aa | _acme-challenge." ID ".open.example. 300 CNAME " ID ".acme.other.test." },
        { "CNAME", "_acme-challenge." ID ".open.example", RR_CNAME,
          "NOERROR aa | _acme-challenge." ID ".open.example. 300 CNAME " ID ".acme.other.test." },
        { "ANY", "_acme-challenge." ID ".open.example", QTYPE_ANY,
          "NOERROR aa | _acme-challenge." ID ".open.example. 300 CNAME " ID ".acme.other.test." },
        { "delegated by the zone itself", "_acme-challenge." ID D, RR_TXT,
          "NOERROR aa | _acme-challenge." ID D ". 300 CNAME " ID ".acme" D ". | | acme" D
          ". 60 NS ns1.acme" D ". | acme" D ". 60 NS ns1" D ". || | ns1.acme" D
          ". 60 A 192.88.99.7 | ns1" D ". 900 A 192.88.99.1 | ns1" D ". 900 AAAA 3ffe::1" },
        { "an address", "10-0-0-1." ID ".open.example", RR_A,
          "NOERROR aa | 10-0-0-1." ID ".open.example. 86400 A 10.0.0.1" },
        { "the end of CNAMEs, another type", ID ".sub" D, RR_A,
          "NOERROR aa | | sub.direct.example. SOA 1" },
        { "below it", "10-0-0-1." ID ".sub" D, RR_A, "NXDOMAIN aa | | sub.direct.example. SOA 60" },
    };
    struct fixture *fx = *state;
    struct zone *open = NULL, *direct = NULL, *sub = NULL;
    for (size_t i = 0; i < fx->view->n_zones; i++) {
        struct zone *z = fx->view->zones[i];
        open = strcmp(z->text, "open.example") == 0 ? z : open;
        direct = strcmp(z->text, "direct.example") == 0 ? z : direct;
        sub = strcmp(z->text, "sub.direct.example") == 0 ? z : sub;
    }
    open->challenges_cname = calloc(1, sizeof(struct name));
    direct->challenges_cname = calloc(1, sizeof(struct name));
    assert_int_equal(name_parse(open->challenges_cname, "acme.other.test"), ERR_OK);
    assert_int_equal(name_parse(direct->challenges_cname, "acme.direct.example"), ERR_OK);
    sub->challenges = strdup("sqlite:challenges.db");
    sub->policy.challenges_only = true;
    check_rows(fx, ROWS, ARRAY_LEN(ROWS));

    assert_int_equal(ask(fx, ID ".sub" D, RR_TXT, 0), 0);
    assert_true(fx->ctx.deferred);
    assert_string_equal(fx->ctx.challenge.id, ID);
    assert_ptr_equal(fx->ctx.challenge.zone, sub);
    free(direct->challenges_cname);
    direct->challenges_cname = NULL;
}

static void the_limit_is_kept_to_the_byte(void **state)
{
    struct fixture *fx = *state;
    struct span values[8];
    const size_t whole = 12 + 16 + 33 + 16 + 4 + 8 * (12 + 44) + EDNS_REPLY_LEN;
    for (size_t i = 0; i < 8; i++)
        values[i] = span_str("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA");
    for (unsigned udp_len = 512; udp_len < 600; udp_len++) {
        assert_int_equal(ask(fx, "_acme-challenge." ID D, RR_TXT, udp_len), 0);
        size_t n =
            query_end_challenge(&fx->ctx.challenge, values, 8, NULL, fx->reply, sizeof fx->reply);
        bool tc = (fx->reply[2] & 2) != 0;
        assert_int_equal(tc, udp_len < whole);
        if (!tc)
            assert_int_equal(n, whole);
    }
}

static void a_small_buffer_is_refused(void **state)
{
    struct fixture *fx = *state;
    size_t len = make_request(fx, "10-0-0-1." ID D, RR_A, 0);
    assert_int_equal(query_answer(&fx->ctx, fx->reply, QUERY_REPLY_MIN - 1,
                                  (struct span){ fx->request, len }, &fx->peer),
                     0);
    assert_false(fx->ctx.deferred);
}

/* The linker sends every call of the allocator here. */
static volatile unsigned n_calls; /* for gcc, malloc() changes no variable of ours */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    n_calls++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    n_calls++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    n_calls++;
    return __real_realloc(p, n);
}

static void nothing_is_allocated(void **state)
{
    static const struct {
        const char *name;
        unsigned type, udp_len;
    } MIX[] = {
        { "10-0-0-1." ID D, RR_A, 0 },
        { "fd00--1." ID D, RR_AAAA, 1232 },
        { "10-0-0-1." ID D, RR_TXT, 1232 },
        { "10-0-0-1." ID D, QTYPE_ANY, 0 },
        { "direct.example", RR_SOA, 0 },
        { "x" D, RR_A, 1232 },
        { "home" D, RR_A, 0 },
        { "loop-a" D, RR_A, 0 },
        { "x.acme" D, RR_A, 1232 },
        { "big" D, RR_TXT, 0 },
        { "x.test", RR_A, 0 },
        { "direct.example", 252, 0 },
        { "pksjz766e-8-8-8-8." ID ".open.example", RR_A, 1232 },
        { "pksjz766f-8-8-8-8." ID ".open.example", RR_A, 1232 },
        { "10-66-0-1." ID ".open.example", RR_A, 1232 },
        { "10-0-0-1.zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz.open.example", RR_A, 1232 },
        { "_acme-challenge." ID D, RR_TXT, 0 },
        { "_acme-challenge." ID D, RR_A, 1232 },
    };
    struct fixture *fx = *state;
    n_calls = 0;
    free(malloc(1));
    assert_int_equal(n_calls, 1); /* the counter counts */
    for (size_t i = 0; i < ARRAY_LEN(MIX); i++) {
        size_t len = make_request(fx, MIX[i].name, MIX[i].type, MIX[i].udp_len);
        n_calls = 0;
        size_t n = query_answer(&fx->ctx, fx->reply, sizeof fx->reply,
                                (struct span){ fx->request, len }, &fx->peer);
        if (fx->ctx.deferred)
            n = query_end_challenge(&fx->ctx.challenge, NULL, 0, NULL, fx->reply, sizeof fx->reply);
        assert_int_equal(n_calls, 0);
        assert_true(n > 12);
    }
    for (size_t len = 0; len < 60; len++) { /* broken ones */
        n_calls = 0;
        size_t n = query_answer(&fx->ctx, fx->reply, sizeof fx->reply,
                                (struct span){ fx->request, len }, &fx->peer);
        assert_int_equal(n_calls, 0);
        assert_true(n < 512);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(names_of_devices),
        T(static_names),
        T(negative_ttls),
        T(a_loop_of_cnames_ends),
        T(the_question_comes_back_as_asked),
        T(what_does_not_fit_is_truncated),
        T(edns_is_answered_with_edns),
        T(who_pads_is_padded_under_tls),
        T(padding_goes_where_there_is_room),
        T(packets_of_every_kind),
        T(every_byte_changed),
        T(a_challenge_is_deferred_and_ended),
        T(challenges_elsewhere),
        T(the_limit_is_kept_to_the_byte),
        T(a_small_buffer_is_refused),
        T(nothing_is_allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
