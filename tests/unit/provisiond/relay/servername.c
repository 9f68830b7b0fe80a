#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "provisiond/relay/servername.h"

#define ID "abcdefghijklmnopqrstuvwxyz234567"

static void names(void **state)
{
    static char A[] = "direct.example", B[] = "eu.direct.example";
    static char *const ZONES[] = { A, B };
    static const struct {
        const char *why, *name;
        enum err want;
        size_t zone;
    } CASES[] = {
        { "an address of a device", "192-168-1-5." ID ".direct.example", ERR_OK, 0 },
        { "the device itself", ID ".direct.example", ERR_OK, 0 },
        { "a zone below another", "p-1." ID ".eu.direct.example", ERR_OK, 1 },
        { "two labels in front are nobody's", "a.b." ID ".direct.example", ERR_INVALID, 0 },
        { "the zone itself", "direct.example", ERR_NOTFOUND, 0 },
        { "nearly the zone", ID ".indirect.example", ERR_NOTFOUND, 0 },
        { "another zone", ID ".example.com", ERR_NOTFOUND, 0 },
        { "a name of the zone file", "www.direct.example", ERR_INVALID, 0 },
        { "too long an id", "a" ID ".direct.example", ERR_INVALID, 0 },
        { "no id", ".direct.example", ERR_NOTFOUND, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct devid id;
        size_t zone = 0;
        enum err e = servername_read(&id, &zone, CASES[i].name, ZONES, ARRAY_LEN(ZONES));
        if (e != CASES[i].want || zone != CASES[i].zone ||
            (e == ERR_OK && strcmp(id.text, ID) != 0))
            fail_msg("%s: %s", CASES[i].why, err_name(e));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(names) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
