#include "provisiond/acme/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"

#define URL "https://ca.example/acct/1"

static char dir[] = "/tmp/lanyard-account-XXXXXX";
static char key_path[PATH_MAX], url_path[PATH_MAX];

static int make_dir(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return 1;
    (void)snprintf(key_path, sizeof key_path, "%s/account.pem", dir);
    (void)snprintf(url_path, sizeof url_path, "%s/account.pem.url", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(url_path);
    return rmdir(dir);
}

static void test_kept_for_its_directory_and_key(void **state)
{
    struct account_id id = { key_path, "https://ca.example/dir", "thumb" };
    struct account_id other_ca = { key_path, "https://other.example/dir", "thumb" };
    struct account_id other_key = { key_path, "https://ca.example/dir", "another" };
    char url[ISSUER_URL_MAX] = "untouched";
    struct stat st;
    (void)state;
    assert_int_equal(account_load(&id, url), ERR_NOTFOUND);
    assert_string_equal(url, "untouched");
    assert_int_equal(account_save(&id, URL, NULL), ERR_OK);
    assert_int_equal(account_load(&id, url), ERR_OK);
    assert_string_equal(url, URL);
    assert_int_equal(stat(url_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(account_load(&other_ca, url), ERR_NOTFOUND);
    assert_int_equal(account_load(&other_key, url), ERR_NOTFOUND);
}

static void test_damage_is_only_a_loss(void **state)
{
    static const struct {
        const char *why, *text;
    } FILES[] = {
        { "empty", "" },
        { "cut after the directory", "https://ca.example/dir\n" },
        { "cut before the URL", "https://ca.example/dir\nthumb\n" },
        { "no https", "https://ca.example/dir\nthumb\nhttp://ca.example/acct/1\n" },
        { "not a URL", "https://ca.example/dir\nthumb\nhttps://ca.example/a b\n" },
    };
    struct account_id id = { key_path, "https://ca.example/dir", "thumb" };
    char url[ISSUER_URL_MAX];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(FILES); i++) {
        assert_int_equal(file_write_atomic(url_path, span_str(FILES[i].text), 0600, NULL), ERR_OK);
        if (account_load(&id, url) != ERR_NOTFOUND)
            fail_msg("%s", FILES[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_for_its_directory_and_key),
        cmocka_unit_test(test_damage_is_only_a_loss),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
