#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/conf/conf.h"
#include "tests/lib/tmpdir.h"

static struct tmpdir dir;

static int set_up(void **state)
{
    (void)state;
    tmpdir_make(&dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    return 0;
}

static enum err load(struct conf **c, const char *text, struct err_info *info)
{
    static cfg_opt_t zone[] = { CFG_STR("file", NULL, CFGF_NONE), CFG_END() };
    static cfg_opt_t opts[] = { CFG_INT("workers", 1, CFGF_NONE), CFG_STR("name", "x", CFGF_NONE),
                                CFG_STR_LIST("listen", NULL, CFGF_NONE),
                                CFG_SEC("zone", zone, CFGF_MULTI | CFGF_TITLE), CFG_END() };
    tmpdir_write(&dir, "c.conf", text);
    return conf_load(c, tmpdir_file(&dir, "c.conf"), opts, info);
}

static void test_complaints(void **state)
{
    static const struct {
        const char *why, *text, *where;
    } CASES[] = {
        { "unknown option", "workers = 1\nspeed = 3\n", ":2: " },
        { "unknown in a section", "zone \"z\" {\n  file = \"a\"\n  fil = \"b\"\n}\n", ":3: " },
        { "wrong type", "\n\nworkers = \"many\"\n", ":3: " },
        { "after comments", "# one\n// two\n/* three\n */\nname = \"#a//\" # x\nbad = 1\n",
          ":6: " },
        { "a comment sign in quotes",
          "name = 'it\\'s # \\\" // /*'\nlisten = {\"//\"} // x\nbad = 1\n", ":3: " },
        { "a comment that does not end", "name = \"a\"\n/* x\n", ":2: " },
        { "a string that does not end", "\nname = \"a\n", ":2: " },
        { "a section that does not end", "\nzone \"z\" {\n    name = \"a\"\n", ":2: " },
        { "a list that does not end", "\n\nlisten = {\"a\"\n", ":3: " },
        { "half a file", "zone \"y\" {\n}\nzone \"z\" {\n    listen = {\"}\"}\n", ":3: " },
        { "a brace too many", "zone \"z\" {\n}\n}\n", ":3: " },
        { "syntax", "name = \"a\"\nworkers 3\n", ":2: " },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct conf *c = NULL;
        struct err_info info = { "" };
        enum err e = load(&c, CASES[i].text, &info);
        if (e != ERR_CONFIG || c != NULL || strstr(info.text, "c.conf") == NULL ||
            strstr(info.text, CASES[i].where) == NULL)
            fail_msg("%s: %s %s", CASES[i].why, err_name(e), info.text);
    }
    struct conf *c = NULL;
    struct err_info info;
    cfg_opt_t none[] = { CFG_END() };
    assert_int_equal(conf_load(&c, tmpdir_file(&dir, "absent"), none, &info), ERR_CONFIG);
    assert_non_null(strstr(info.text, "absent"));
}

static void test_values_and_lines(void **state)
{
    struct conf *c = NULL;
    struct err_info info = { "" };
    (void)state;
    assert_int_equal(
        load(&c,
             "# comment\nname = \"n\"\nlisten = {\"a\",\n \"b\"}\n"
             "zone \"one\" {\n file = \"f1\"\n}\nzone \"two\" {\n\n file = \"f2\"\n}\n",
             &info),
        ERR_OK);
    cfg_t *root = conf_root(c), *two = cfg_gettsec(root, "zone", "two");
    assert_string_equal(cfg_getstr(root, "name"), "n");
    assert_int_equal(cfg_size(root, "listen"), 2);
    assert_int_equal(conf_line(c, root, "name"), 2);
    assert_int_equal(conf_line(c, root, "listen"), 3);
    assert_int_equal(conf_line(c, two, "file"), 10);
    assert_int_equal(conf_line(c, cfg_gettsec(root, "zone", "one"), "file"), 6);
    assert_true(conf_is_set(c, root, "name"));
    assert_false(conf_is_set(c, root, "workers"));
    assert_int_equal(conf_fail(c, two, "file", &info, "cannot %s", "read"), ERR_CONFIG);
    assert_non_null(strstr(info.text, "c.conf:10: zone \"two\": file: cannot read"));
    conf_free(c);
    c = NULL;
    assert_int_equal(load(&c, "name = https://a.example/#x\n", &info), ERR_OK);
    assert_string_equal(cfg_getstr(conf_root(c), "name"), "https://a.example/");
    conf_free(c);
    c = NULL;
    assert_int_equal(load(&c, "", &info), ERR_OK); /* nothing but defaults */
    conf_free(c);
    c = NULL;
    assert_int_equal(load(&c, "# c\nname = \"n\"", &info), ERR_OK); /* no last newline */
    root = conf_root(c);
    char *relative = conf_path(c, "a/b"), *absolute = conf_path(c, "/a/b");
    assert_string_equal(relative, tmpdir_file(&dir, "a/b"));
    assert_string_equal(absolute, "/a/b");
    char *where = conf_where(c, root, "name");
    assert_non_null(strstr(where, "c.conf:2"));
    free(relative);
    free(absolute);
    free(where);
    conf_free(c);
    conf_free(NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = { T(test_complaints), T(test_values_and_lines) };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
