#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "common/pki/key.h"
#include "tests/lib/tmpdir.h"

static struct tmpdir dir;
static struct err_info info;

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

static void test_types(void **state)
{
    EVP_PKEY *ec = NULL, *rsa = NULL;
    (void)state;
    assert_int_equal(key_new(&ec, KEY_P256), ERR_OK);
    assert_int_equal(key_new(&rsa, KEY_RSA2048), ERR_OK);
    assert_true(EVP_PKEY_is_a(ec, "EC") && EVP_PKEY_get_bits(ec) == 256);
    assert_true(EVP_PKEY_is_a(rsa, "RSA") && EVP_PKEY_get_bits(rsa) == 2048);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(rsa);
}

static void test_made_once(void **state)
{
    EVP_PKEY *first = NULL, *again = NULL, *loaded = NULL;
    struct stat st;
    const char *path = tmpdir_file(&dir, "id.key");
    (void)state;
    assert_int_equal(key_load(&loaded, path, &info), ERR_NOTFOUND);
    assert_int_equal(key_load_or_make(&first, path, KEY_P256, &info), ERR_OK);
    assert_int_equal(key_load_or_make(&again, path, KEY_P256, &info), ERR_OK);
    assert_int_equal(key_load(&loaded, path, &info), ERR_OK);
    assert_int_equal(EVP_PKEY_eq(first, again), 1);
    assert_int_equal(EVP_PKEY_eq(first, loaded), 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(tmpdir_count(&dir), 1);
    EVP_PKEY_free(first);
    EVP_PKEY_free(again);
    EVP_PKEY_free(loaded);
}

static void test_bad_files(void **state)
{
    static const struct {
        const char *why, *text;
        unsigned mode;
        enum err want;
    } CASES[] = {
        { "empty", "", 0600, ERR_INVALID },
        { "not PEM", "junk", 0600, ERR_INVALID },
        { "cut", "-----BEGIN PRIVATE KEY-----\nMIGH\n", 0600, ERR_INVALID },
        { "open to others", "junk", 0644, ERR_DENIED },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        EVP_PKEY *key = NULL;
        const char *path = tmpdir_file(&dir, "k");
        tmpdir_write(&dir, "k", CASES[i].text);
        assert_int_equal(chmod(path, CASES[i].mode), 0);
        /* a damaged key is an error, never a reason to make another one */
        if (key_load(&key, path, &info) != CASES[i].want ||
            key_load_or_make(&key, path, KEY_P256, &info) != CASES[i].want || key != NULL)
            fail_msg("%s: %s", CASES[i].why, info.text);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = { T(test_types), T(test_made_once), T(test_bad_files) };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
