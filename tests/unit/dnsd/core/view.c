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
        (void)snprintf(name, sizeof name, "www.%.31s", text[i]);
        assert_int_equal(name_parse(&n, name), ERR_OK);
        assert_string_equal(view_find(v, &n, 127)->text, text[i]);
    }
    view_free(v);
}

static struct suspended *list_of(const char *text)
{
    struct suspended *s = NULL;
    unsigned line;
    assert_int_equal(suspended_parse(&s, span_str(text), 1, &line, NULL), ERR_OK);
    return s;
}

/* A view that was renewed shares zones and guards; what is replaced goes with the old one, and the
 * rest with the last. The leak checkers watch. */
static void a_renewed_view_shares(void **state)
{
    static const char *const TWO[] = { "direct.example", "other.test" };
    struct view *old = view_of(TWO, 2), *next = NULL, *dropped = NULL;
    struct name name;
    (void)state;
    assert_int_equal(name_parse(&name, "other.test"), ERR_OK);
    const struct zone *other = view_find(old, &name, 127);
    old->guards[other->number].suspended = list_of("10.0.0.0/8");
    old->guards[other->number].tag_keys = calloc(1, sizeof(struct tag_keys));
    old->guards[1 - other->number].suspended = list_of("");

    assert_int_equal(view_renew(&dropped, old), ERR_OK);
    dropped->guards[other->number].suspended = list_of("");
    view_retire(dropped, old); /* never published */

    assert_int_equal(view_renew(&next, old), ERR_OK);
    assert_ptr_equal(view_find(next, &name, 127), other);
    assert_ptr_equal(view_guard(next, other)->suspended, view_guard(old, other)->suspended);
    next->guards[other->number].suspended = list_of("172.16.0.0/12");
    view_retire(old, next);
    assert_int_equal(next->guards[other->number].suspended->n_ranges4, 1);
    assert_int_equal(next->guards[1 - other->number].suspended->n_ids, 0);
    assert_int_equal(view_guard(next, other)->tag_keys->n, 0);
    assert_ptr_equal(view_find(next, &name, 127), other);
    view_free(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_apex_wins),
        cmocka_unit_test(a_thousand_zones),
        cmocka_unit_test(a_renewed_view_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
