/* The records of dns-persist-01, and how an account is named in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/acme/persist.h"

/* The inputs of the example of draft 02, s10.2. */
#define THUMBPRINT "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
#define ACCOUNT "https://ca.example/acct/123"
#define PREFIX "https://ca.example/account-hash/"

static void uris(void **state)
{
    char out[ISSUER_URL_MAX], longest[ISSUER_URL_MAX];
    (void)state;
    assert_int_equal(persist_uri(out, "", THUMBPRINT, ACCOUNT), ERR_OK);
    assert_string_equal(out, ACCOUNT);
    /* SHA-256 over "\001*", thumbprint and account, computed with Python's hashlib */
    assert_int_equal(persist_uri(out, PREFIX, THUMBPRINT, ACCOUNT), ERR_OK);
    assert_string_equal(out, PREFIX "sha-256/NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug");
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(persist_uri(out, "", THUMBPRINT, longest), ERR_OK);
    assert_int_equal(persist_uri(out, PREFIX, THUMBPRINT, longest), ERR_OK);
    assert_int_equal(persist_uri(out, longest, THUMBPRINT, ACCOUNT), ERR_LIMIT);
}

static void records(void **state)
{
    char out[ISSUER_TXT_MAX], longest[ISSUER_URL_MAX];
    (void)state;
    assert_int_equal(persist_record(out, "ca.example", ACCOUNT), ERR_OK);
    assert_string_equal(out, "ca.example; accounturi=" ACCOUNT "; policy=wildcard");
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(persist_record(out, "ca.example", longest), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(uris), cmocka_unit_test(records) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
