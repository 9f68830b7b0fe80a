#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/dns/wire.h"
#include "dnsd/tally.h"

static const struct {
    const char *why;
    unsigned type, flags, n_answer, n_authority;
    bool unread; /* no question could be read */
    enum tally_type want_type;
    enum tally_outcome want;
} CASES[] = {
    { "an address", 1, 0x8400, 1, 0, false, TALLY_TYPE_A, TALLY_ANSWER },
    { "asked with RD", 28, 0x8500, 1, 0, false, TALLY_TYPE_AAAA, TALLY_ANSWER },
    { "256 answers", 16, 0x8400, 256, 0, false, TALLY_TYPE_TXT, TALLY_ANSWER },
    { "no data", 257, 0x8400, 0, 1, false, TALLY_TYPE_CAA, TALLY_NODATA },
    { "a referral", 2, 0x8000, 0, 2, false, TALLY_TYPE_NS, TALLY_REFERRAL },
    { "BADVERS: its upper bits are elsewhere", 1, 0x8000, 0, 0, false, TALLY_TYPE_A, TALLY_OTHER },
    { "truncated", 16, 0x8600, 0, 0, false, TALLY_TYPE_TXT, TALLY_TRUNCATED },
    { "truncated, with records", 16, 0x8600, 1, 0, false, TALLY_TYPE_TXT, TALLY_TRUNCATED },
    { "no such name", 1, 0x8403, 0, 1, false, TALLY_TYPE_A, TALLY_NXDOMAIN },
    { "behind a CNAME", 1, 0x8403, 1, 1, false, TALLY_TYPE_A, TALLY_NXDOMAIN },
    { "refused", 255, 0x8005, 0, 0, false, TALLY_TYPE_ANY, TALLY_REFUSED },
    { "the store is away", 16, 0x8002, 0, 0, false, TALLY_TYPE_TXT, TALLY_SERVFAIL },
    { "malformed", 1, 0x8001, 0, 0, true, TALLY_TYPE_NONE, TALLY_FORMERR },
    { "another opcode", 1, 0xa004, 0, 0, true, TALLY_TYPE_NONE, TALLY_NOTIMP },
    { "a code that has no row", 1, 0x8009, 0, 0, false, TALLY_TYPE_A, TALLY_OTHER },
    { "a type without a row", 99, 0x8400, 0, 1, false, TALLY_TYPE_OTHER, TALLY_NODATA },
    { "the first type above the table", 258, 0x8400, 1, 0, false, TALLY_TYPE_OTHER, TALLY_ANSWER },
    { "the largest type", 65535, 0x8400, 1, 0, false, TALLY_TYPE_OTHER, TALLY_ANSWER },
};

static void each_reply_has_one_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        static struct tally t;
        static const struct question NO_QUESTION;
        struct question q = NO_QUESTION;
        uint8_t reply[DNS_HEADER_LEN] = { 0 };
        memset(&t, 0, sizeof t);
        q.type = (uint16_t)CASES[i].type;
        q.end = CASES[i].unread ? DNS_HEADER_LEN : 30;
        wire_store16(reply + 2, CASES[i].flags);
        wire_store16(reply + 6, CASES[i].n_answer);
        wire_store16(reply + 8, CASES[i].n_authority);
        tally_reply(&t, &q, reply);
        for (unsigned k = 0; k < TALLY_TYPES * TALLY_OUTCOMES; k++) {
            unsigned type = k / TALLY_OUTCOMES, outcome = k % TALLY_OUTCOMES;
            bool here = type == CASES[i].want_type && outcome == CASES[i].want;
            if (metric_get(&t.replies[type][outcome]) != here)
                fail_msg("%s: counted as %s %s", CASES[i].why, TALLY_TYPE_NAMES[type],
                         TALLY_OUTCOME_NAMES[outcome]);
        }
    }
}

static void names_are_all_there(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TALLY_TRANSPORTS; i++)
        assert_non_null(TALLY_TRANSPORT_NAMES[i]);
    for (unsigned i = 0; i < TALLY_TYPES; i++)
        assert_non_null(TALLY_TYPE_NAMES[i]);
    for (unsigned i = 0; i < TALLY_OUTCOMES; i++)
        assert_non_null(TALLY_OUTCOME_NAMES[i]);
    assert_string_equal(TALLY_TYPE_NAMES[TALLY_TYPE_HTTPS], "HTTPS");
    assert_string_equal(TALLY_OUTCOME_NAMES[TALLY_REFUSED], "refused");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reply_has_one_place),
        cmocka_unit_test(names_are_all_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
