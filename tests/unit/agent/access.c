#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/access.h"
#include "common/base/attr.h"
#include "tests/lib/treedir.h"

static void test_modes(void **state)
{
    static const struct {
        const char *why, *file, *mode;
        enum err want;
        mode_t set;
    } CASES[] = {
        { "a key for a group", "privkey.pem", "0640", ERR_OK, 0640 },
        { "a key that is written once", "combined.pem", "0400", ERR_OK, 0400 },
        { "a certificate for a group only", "fullchain.pem", "0640", ERR_OK, 0640 },
        { "a certificate for all", "cert.pem", "0444", ERR_OK, 0444 },
        { "nothing said: as it was", "bundle.p12", "", ERR_OK, 0600 },
        { "nothing said", "chain.pem", NULL, ERR_OK, 0644 },
        { "a key for all", "privkey.pem", "0644", ERR_CONFIG, 0600 },
        { "a key for others only", "bundle.p12", "0604", ERR_CONFIG, 0600 },
        { "a key that a group may change", "combined.pem", "0660", ERR_CONFIG, 0600 },
        { "a certificate that others may change", "cert.pem", "0666", ERR_CONFIG, 0644 },
        { "not for its owner: the agent could not read it", "privkey.pem", "0040", ERR_CONFIG,
          0600 },
        { "a program", "cert.pem", "0744", ERR_CONFIG, 0644 },
        { "decimal, or forgotten", "cert.pem", "644", ERR_CONFIG, 0644 },
        { "set-group-id", "cert.pem", "2640", ERR_CONFIG, 0644 },
        { "more than it holds", "cert.pem", "00644", ERR_CONFIG, 0644 },
        { "words", "cert.pem", "u=rw", ERR_CONFIG, 0644 },
        { "no octal digit", "cert.pem", "0648", ERR_CONFIG, 0644 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct access a = ACCESS_PRIVATE;
        struct err_info info = { "" };
        enum form_kind form = FORM_N;
        assert_int_equal(access_find(CASES[i].file, &form), ERR_OK);
        if (access_set_mode(&a, form, CASES[i].mode, &info) != CASES[i].want ||
            a.of[form].mode != CASES[i].set ||
            access_is_shared(&a) != (a.of[form].mode != ACCESS_PRIVATE.of[form].mode))
            fail_msg("%s: %s", CASES[i].why, info.text);
    }
}

static void test_names(void **state)
{
    struct access a = ACCESS_PRIVATE;
    struct err_info info;
    enum form_kind form;
    (void)state;
    assert_int_equal(access_find("privkey", &form), ERR_NOTFOUND);
    assert_int_equal(access_set_owner(&a, FORM_CERT, "no-such-user", &info), ERR_CONFIG);
    assert_int_equal(access_set_group(&a, FORM_CERT, "no-such-group", &info), ERR_CONFIG);
    assert_false(access_is_shared(&a));
    assert_int_equal(access_set_owner(&a, FORM_CERT, "root", &info), ERR_OK);
    assert_true(access_is_shared(&a));
    assert_int_equal(access_check(&a, &info), geteuid() == 0 ? ERR_OK : ERR_CONFIG);
}

/* A group beside our own: any when we are root, otherwise one that we are in, or our own again. */
static gid_t other_group(void)
{
    gid_t groups[64];
    int n = geteuid() == 0 ? 0 : getgroups(64, groups);
    for (int i = 0; i < n; i++) {
        if (groups[i] != getegid())
            return groups[i];
    }
    return geteuid() == 0 ? 65534 : getegid();
}

enum who { OURS, OTHER, ROOT, STRANGER };

static void test_wider(void **state)
{
    static const struct {
        const char *why;
        enum form_kind form;
        enum who rule_group;
        mode_t rule_mode, mode;
        enum who owner, group;
        bool wider;
    } CASES[] = {
        { "as it is meant", FORM_PRIVKEY, OURS, 0600, 0600, OURS, OURS, false },
        { "less than that", FORM_PRIVKEY, OURS, 0640, 0400, OURS, OTHER, false },
        { "for our group", FORM_PRIVKEY, OURS, 0640, 0640, OURS, OURS, false },
        { "a group that may", FORM_PRIVKEY, OTHER, 0640, 0640, OURS, OTHER, false },
        { "a group that may not any more", FORM_PRIVKEY, OURS, 0600, 0640, OURS, OTHER, true },
        { "ours, which may not either", FORM_PRIVKEY, OURS, 0600, 0640, OURS, OURS, true },
        { "another group than before", FORM_PRIVKEY, OTHER, 0640, 0640, OURS, OURS, true },
        { "a key for all", FORM_COMBINED, OURS, 0600, 0604, OURS, OURS, true },
        { "a certificate for all", FORM_CERT, OURS, 0644, 0644, OURS, OTHER, false },
        { "of all, in a group's hands", FORM_CERT, OURS, 0644, 0640, OURS, OTHER, false },
        { "for a group only", FORM_CERT, OTHER, 0640, 0644, OURS, OTHER, true },
        { "a group that may write", FORM_CERT, OURS, 0644, 0664, OURS, OURS, true },
        { "root's", FORM_BUNDLE, OURS, 0600, 0600, ROOT, ROOT, false },
        { "somebody's", FORM_BUNDLE, OURS, 0600, 0600, STRANGER, OURS, true },
        { "somebody's certificate: it can be changed", FORM_CERT, OURS, 0644, 0644, STRANGER, OURS,
          true },
    };
    (void)state;
    const gid_t groups[] = { [OURS] = getegid(), [OTHER] = getegid() + 1 };
    const uid_t owners[] = { [OURS] = geteuid(), [ROOT] = 0, [STRANGER] = geteuid() + 1 };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct access a = ACCESS_PRIVATE;
        const struct stat st = { .st_mode = S_IFREG | CASES[i].mode,
                                 .st_uid = owners[CASES[i].owner],
                                 .st_gid = CASES[i].group == ROOT ? 0 : groups[CASES[i].group] };
        a.of[CASES[i].form].mode = CASES[i].rule_mode;
        if (CASES[i].rule_group == OTHER)
            a.of[CASES[i].form].group = groups[OTHER];
        if (access_is_wider(&a, CASES[i].form, &st) != CASES[i].wider)
            fail_msg("%s", CASES[i].why);
    }
}

static void make_set(const struct treedir *d)
{
    for (int i = 0; i < FORM_N; i++)
        treedir_write(d, FORMS[i].name, "x", 0600);
}

static struct stat look(const struct treedir *d, enum form_kind form)
{
    struct stat st;
    assert_int_equal(stat(treedir_path(d, FORMS[form].name), &st), 0);
    return st;
}

static void test_give_and_narrow(void **state)
{
    struct treedir dir;
    struct access wide = ACCESS_PRIVATE, other = ACCESS_PRIVATE;
    struct err_info info = { "" };
    (void)state;
    treedir_make(&dir);
    make_set(&dir);
    wide.of[FORM_PRIVKEY].group = other_group();
    wide.of[FORM_PRIVKEY].mode = 0440;
    other.of[FORM_COMBINED].group = getegid();
    other.of[FORM_COMBINED].mode = 0640;
    assert_int_equal(access_give(&wide, dir.path, &info), ERR_OK);
    assert_int_equal(look(&dir, FORM_PRIVKEY).st_mode & 07777, 0440);
    assert_int_equal(look(&dir, FORM_PRIVKEY).st_gid, other_group());
    assert_int_equal(look(&dir, FORM_CERT).st_mode & 07777, 0644);
    assert_false(access_has_exposed_key(&wide, dir.path));
    assert_true(access_has_exposed_key(&ACCESS_PRIVATE, dir.path));
    /* nothing is opened, and what nobody may read any more is closed */
    assert_int_equal(access_narrow(&other, dir.path, &info), ERR_OK);
    assert_int_equal(look(&dir, FORM_PRIVKEY).st_mode & 07777, 0600);
    assert_int_equal(look(&dir, FORM_COMBINED).st_mode & 07777, 0600);
    assert_int_equal(look(&dir, FORM_CERT).st_mode & 07777, 0644);
    assert_false(access_has_exposed_key(&ACCESS_PRIVATE, dir.path));
    assert_int_equal(access_give(&other, dir.path, &info), ERR_OK);
    assert_int_equal(look(&dir, FORM_COMBINED).st_mode & 07777, 0640);
    /* one that is missing is in the way of giving, not of closing */
    assert_int_equal(unlink(treedir_path(&dir, "privkey.pem")), 0);
    assert_int_equal(access_give(&wide, dir.path, &info), ERR_NOTFOUND);
    assert_int_equal(access_narrow(&ACCESS_PRIVATE, dir.path, &info), ERR_OK);
    assert_int_equal(look(&dir, FORM_COMBINED).st_mode & 07777, 0600);
    treedir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_wider),
        cmocka_unit_test(test_give_and_narrow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
