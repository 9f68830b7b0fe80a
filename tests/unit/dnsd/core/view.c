#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dnsview.h"

static struct view *view_of(const char *const *apexes, size_t n)
{
    struct zone **zones = calloc(n, sizeof(struct zone *));
    struct view *v = NULL;
    assert_non_null(zones);
    for (size_t i = 0; i < n; i++)
        zones[i] = dnsview_zone(apexes[i], NULL, 0);
    assert_int_equal(view_new(&v, zones, n), ERR_OK);
    return v;
}

static void the_longest_apex_wins(void **state)
{
    static const char *const ONE[] = { "direct.example" };
    static const char *const MANY[] = { "example", "direct.example", "a.b.direct.example",
                                        "other.test" };
    static const char *const ROOT[] = { ".", "example" };
    static const struct {
        const char *why;
        const char *const *apexes;
        size_t n;
        const char *name;
        unsigned n_max;
        const char *want; /* NULL: none */
    } CASES[] = {
        { "the apex itself", ONE, 1, "direct.example", 127, "direct.example" },
        { "below", ONE, 1, "a.b.direct.example", 127, "direct.example" },
        { "above", ONE, 1, "example", 127, NULL },
        { "beside", ONE, 1, "indirect.example", 127, NULL },
        { "no labels", ONE, 1, ".", 127, NULL },
        { "of several, the nearest", MANY, 4, "x.direct.example", 127, "direct.example" },
        { "an apex below an apex", MANY, 4, "a.b.direct.example", 127, "a.b.direct.example" },
        { "between two", MANY, 4, "b.direct.example", 127, "direct.example" },
        { "only the top", MANY, 4, "x.example", 127, "example" },
        { "of another tree", MANY, 4, "www.other.test", 127, "other.test" },
        { "outside of all", MANY, 4, "www.test", 127, NULL },
        { "the parent of an apex", MANY, 4, "direct.example", 1, "example" },
        { "no parent", MANY, 4, "other.test", 1, NULL },
        { "the root has all", ROOT, 2, "x.test", 127, "." },
        { "but not what is another's", ROOT, 2, "x.example", 127, "example" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct view *v = view_of(CASES[i].apexes, CASES[i].n);
        struct name n;
        assert_int_equal(name_parse(&n, CASES[i].name), ERR_OK);
        const struct zone *z = view_find(v, &n, CASES[i].n_max);
        const char *got = z == NULL ? "nothing" : z->text;
        if (strcmp(got, CASES[i].want == NULL ? "nothing" : CASES[i].want) != 0)
            fail_msg("%s: %s", CASES[i].why, got);
        view_free(v);
    }
}

static void a_thousand_zones(void **state)
{
    static char text[1000][32];
    const char *apexes[1000];
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(text[i], sizeof text[i], "z%u.test", i);
        apexes[i] = text[i];
    }
    struct view *v = view_of(apexes, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        struct name n;
        char name[40];
        (void)snprintf(name, sizeof name, "www.%s", text[i]);
        assert_int_equal(name_parse(&n, name), ERR_OK);
        assert_string_equal(view_find(v, &n, 127)->text, text[i]);
    }
    view_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_apex_wins),
        cmocka_unit_test(a_thousand_zones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
