/* The JSON files of the state folder, and a folder that a newer agent wrote: whatever starts in it
 * leaves it as it is, byte for byte (case 48 of the list of faults). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include "agent/lib/lanyard_agent.h"
#include "agent/statedir.h"
#include "agent/statefile.h"
#include "tests/lib/treedir.h"
#include "tests/lib/treeprint.h"

#define NAME STATEFILE_JOURNAL

static int set_up(void **state)
{
    static struct treedir dir;
    treedir_make(&dir);
    *state = &dir;
    return 0;
}

static int tear_down(void **state)
{
    treedir_remove(*state);
    return 0;
}

static void test_round_trip(void **state)
{
    const struct treedir *d = *state;
    struct err_info info = { "" };
    struct stat st;
    json_t *root;
    assert_int_equal(statefile_load(&root, d->path, NAME, &info), ERR_OK);
    assert_null(root);
    root = json_pack("{ss}", "a", "b");
    assert_int_equal(statefile_save(root, d->path, NAME, &info), ERR_OK);
    assert_int_equal(stat(treedir_path(d, NAME), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(statefile_load(&root, d->path, NAME, &info), ERR_OK);
    assert_string_equal(json_string_value(json_object_get(root, "a")), "b");
    json_decref(root);
    for (int i = 0; i < 2; i++)
        assert_int_equal(statefile_remove(d->path, NAME, &info), ERR_OK);
    assert_int_not_equal(stat(treedir_path(d, NAME), &st), 0);
    assert_int_equal(statefile_save(NULL, d->path, NAME, &info), ERR_NOMEM);
}

static void test_what_is_read(void **state)
{
    const struct treedir *d = *state;
    static char large[80 * 1024];
    static const struct {
        const char *why, *text;
        enum err want;
        bool there;
    } CASES[] = {
        { "ours", "{\"version\": 1}", ERR_OK, true },
        { "empty", "", ERR_OK, false },
        { "cut by a crash of something else", "{\"version\": 1, \"a\": \"", ERR_OK, false },
        { "not an object", "[1]", ERR_OK, false },
        { "a version that is no number", "{\"version\": \"2\"}", ERR_OK, false },
        { "none", "{}", ERR_OK, false },
        { "negative", "{\"version\": -1}", ERR_OK, false },
        { "longer than any", large, ERR_OK, false },
        { "newer", "{\"version\": 2}", ERR_CONFIG, false },
        { "much newer", "{\"version\": 9007199254740993, \"x\": {}}", ERR_CONFIG, false },
    };
    (void)snprintf(large, sizeof large, "{\"version\": 1, \"a\": \"%*s\"}", 70 * 1024, "z");
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct err_info info = { "" };
        json_t *root = NULL;
        treedir_write(d, NAME, CASES[i].text, 0600);
        if (statefile_load(&root, d->path, NAME, &info) != CASES[i].want ||
            (root != NULL) != CASES[i].there ||
            statefile_check_all(d->path, &info) != CASES[i].want)
            fail_msg("%s: %s", CASES[i].why, info.text);
        json_decref(root);
    }
}

/* ---- a newer agent's folder ---- */

static enum err start_daemon(const struct treedir *d, struct err_info *info)
{
    int fd;
    return statedir_lock(&fd, treedir_path(d, "state"), info);
}

static void on_nothing(void *arg, const struct lanyard_agent_certificate *cert)
{
    (void)arg;
    (void)cert;
}

static enum err start_library(const struct treedir *d, struct err_info *info)
{
    const struct lanyard_agent_callbacks callbacks = { .size = sizeof callbacks,
                                                       .certificate = on_nothing };
    struct lanyard_agent *a;
    if (lanyard_agent_new(&a, treedir_path(d, "agent.conf"), &callbacks, info->text,
                          sizeof info->text) != 0)
        return ERR_CONFIG;
    lanyard_agent_free(a);
    return ERR_OK;
}

/* With all that a start makes or tidies. */
static void make_folder(const struct treedir *d)
{
    static const char *const FOLDERS[] = { "state", "state/generations", "state/generations/7.new",
                                           "state/pending.new", "state/pending.old" };
    static const char *const FILES[] = { "state/state.json.0123456789abcdef.tmp",
                                         "state/generations/7.new/privkey.pem",
                                         "state/pending.new/csr.pem",
                                         "state/pending.old/privkey.pem" };
    char link[sizeof d->path + 32];
    treedir_write(d, "agent.conf",
                  "server = \"https://127.0.0.1:1\"\nzone = \"direct.example\"\n"
                  "state_dir = \"state\"\naddresses = {\"192.168.1.5\"}\nresolvers = {\"none\"}\n",
                  0600);
    for (size_t i = 0; i < ARRAY_LEN(FOLDERS); i++)
        assert_int_equal(mkdir(treedir_path(d, FOLDERS[i]), 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(FILES); i++)
        treedir_write(d, FILES[i], "x", 0600);
    (void)snprintf(link, sizeof link, "%s/state/current.new", d->path);
    assert_int_equal(symlink("generations/7", link), 0);
}

static void test_case_48_newer_agent(void **state)
{
    static const struct {
        const char *why, *name, *text;
        enum err (*start)(const struct treedir *d, struct err_info *info);
        enum err want;
    } CASES[] = {
        { "the journal", "state/state.json", "{\"version\": 2}", start_daemon, ERR_CONFIG },
        { "the reports", "state/report.json", "{\"version\": 2}", start_daemon, ERR_CONFIG },
        { "the journal, in a program", "state/state.json", "{\"version\": 3}", start_library,
          ERR_CONFIG },
        { "the reports, in a program", "state/report.json", "{\"version\": 3}", start_library,
          ERR_CONFIG },
        { "known: this test sees what a start tidies", "state/report.json", "{\"version\": 1}",
          start_daemon, ERR_OK },
        { "known: this test sees what a program makes", "state/state.json", "{\"version\": 1}",
          start_library, ERR_OK },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct treedir d;
        struct err_info info = { "" };
        treedir_make(&d);
        make_folder(&d);
        treedir_write(&d, CASES[i].name, CASES[i].text, 0600);
        char *before = treeprint(d.path);
        enum err e = CASES[i].start(&d, &info);
        char *after = treeprint(d.path);
        bool same = strcmp(before, after) == 0;
        bool told = strstr(info.text, "newer lanyard-agent: use that one, or remove") != NULL;
        if (e != CASES[i].want || same != (e == ERR_CONFIG) || told != same)
            fail_msg("%s: %s: %s\n%s\n%s", CASES[i].why, err_name(e), info.text, before, after);
        free(before);
        free(after);
        treedir_remove(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_read, set_up, tear_down),
        cmocka_unit_test(test_case_48_newer_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
