#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
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

static void test_give(void **state)
{
    struct treedir dir;
    struct access a = ACCESS_PRIVATE;
    struct err_info info;
    struct stat st;
    (void)state;
    treedir_make(&dir);
    treedir_write(&dir, "file", "x", 0600);
    int fd = open(treedir_path(&dir, "file"), O_RDONLY);
    a.of[FORM_PRIVKEY].group = getegid();
    a.of[FORM_PRIVKEY].mode = 0440;
    assert_int_equal(access_give(&a, FORM_PRIVKEY, fd, "file", &info), ERR_OK);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0440);
    assert_int_equal(st.st_gid, getegid());
    close(fd);
    treedir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_give),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
