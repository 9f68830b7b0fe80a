#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/core/token.h"

static const uint8_t RANDOM[TOKEN_RANDOM_LEN] = { 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9 };

static void text_has_one_hash_however_it_is_pasted(void **state)
{
    char text[TOKEN_TEXT_LEN + 1], pasted[TOKEN_TEXT_LEN + 10];
    uint8_t a[TOKEN_HASH_LEN], b[TOKEN_HASH_LEN];
    (void)state;
    token_format(text, TOKEN_ENROLMENT, RANDOM);
    assert_int_equal(strlen(text), TOKEN_TEXT_LEN);
    assert_int_equal(token_hash(a, TOKEN_ENROLMENT, span_str(text)), ERR_OK);
    (void)snprintf(pasted, sizeof pasted, " \t%s\r\n", text);
    assert_int_equal(token_hash(b, TOKEN_ENROLMENT, span_str(pasted)), ERR_OK);
    assert_memory_equal(a, b, sizeof a);
    /* one of a kind is none of the other */
    assert_int_equal(token_hash(b, TOKEN_VIEWER, span_str(text)), ERR_INVALID);
    token_format(text, TOKEN_VIEWER, RANDOM);
    assert_int_equal(token_hash(b, TOKEN_VIEWER, span_str(text)), ERR_OK);
    /* the hash is not the token */
    assert_null(memmem(a, sizeof a, RANDOM, 8));
}

static void other_texts_are_no_tokens(void **state)
{
    static const struct {
        const char *why, *text;
    } CASES[] = {
        { "empty", "" },
        { "white space", " \n" },
        { "no prefix", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
        { "one short", "lt_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
        { "one long", "lt_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
        { "foreign character", "lt_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1" },
        { "space inside", "lt_aaaaaaaaaaaaaaaa aaaaaaaaaaaaaaa" },
    };
    uint8_t hash[TOKEN_HASH_LEN];
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if (token_hash(hash, TOKEN_ENROLMENT, span_str(CASES[i].text)) != ERR_INVALID)
            fail_msg("%s", CASES[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_has_one_hash_however_it_is_pasted),
        cmocka_unit_test(other_texts_are_no_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
