#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "common/base/file.h"
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

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (unsigned)st.st_mode & 07777;
}

static void assert_content(const char *path, const char *want)
{
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(file_read(path, &b, NULL), ERR_OK);
    assert_string_equal(buf_str(&b), want);
    buf_clear(&b);
}

static void test_write_and_read(void **state)
{
    struct err_info info;
    const char *a = tmpdir_file(&dir, "a");
    (void)state;
    assert_int_equal(file_write_atomic(a, span_str("one"), 0600, &info), ERR_OK);
    assert_content(a, "one");
    assert_int_equal(mode_of(a), 0600);
    assert_int_equal(file_write_atomic(a, span_str("two"), 0644, &info), ERR_OK);
    assert_content(a, "two");
    assert_int_equal(mode_of(a), 0644);
    assert_int_equal(file_create_atomic(a, span_str("three"), 0600, &info), ERR_EXISTS);
    assert_content(a, "two");
    assert_int_equal(tmpdir_count(&dir), 1); /* no temporary file stays */
    assert_int_equal(file_create_atomic(tmpdir_file(&dir, "b"), span_str("new"), 0600, &info),
                     ERR_OK);
    assert_content(tmpdir_file(&dir, "b"), "new");
    assert_int_equal(tmpdir_count(&dir), 2);
}

static void test_no_folder(void **state)
{
    struct err_info info;
    (void)state;
    assert_int_equal(file_write_atomic(tmpdir_file(&dir, "no/where"), span_str("x"), 0600, &info),
                     ERR_NOTFOUND);
    assert_non_null(strstr(info.text, "no/where"));
}

static void test_a_folder_is_not_replaced(void **state)
{
    struct err_info info;
    (void)state;
    assert_int_equal(file_make_dir(tmpdir_file(&dir, "d"), 0700, &info), ERR_OK);
    assert_int_equal(file_write_atomic(tmpdir_file(&dir, "d"), span_str("x"), 0600, &info), ERR_IO);
    assert_int_equal(tmpdir_count(&dir), 1);
}

static void test_read_cap(void **state)
{
    struct buf b;
    struct err_info info;
    (void)state;
    tmpdir_write(&dir, "a", "12345");
    buf_init(&b, 4);
    assert_int_equal(file_read(tmpdir_file(&dir, "a"), &b, &info), ERR_LIMIT);
    buf_clear(&b);
    assert_int_equal(file_read(tmpdir_file(&dir, "absent"), &b, &info), ERR_NOTFOUND);
    assert_int_equal(file_read(dir.path, &b, &info), ERR_IO); /* a folder */
}

static void test_secret_modes(void **state)
{
    static const struct {
        unsigned mode;
        enum err want;
    } CASES[] = { { 0600, ERR_OK },     { 0400, ERR_OK },     { 0640, ERR_DENIED },
                  { 0604, ERR_DENIED }, { 0620, ERR_DENIED }, { 0601, ERR_DENIED } };
    (void)state;
    tmpdir_write(&dir, "key", "secret");
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct buf b;
        struct err_info info;
        buf_init(&b, 100);
        assert_int_equal(chmod(tmpdir_file(&dir, "key"), CASES[i].mode), 0);
        enum err e = file_read_secret(tmpdir_file(&dir, "key"), &b, &info);
        if (e != CASES[i].want || (e != ERR_OK && b.len > 0))
            fail_msg("mode %o: %s", CASES[i].mode, err_name(e));
        buf_wipe(&b);
    }
}

static void test_make_dir(void **state)
{
    struct err_info info;
    (void)state;
    assert_int_equal(file_make_dir(tmpdir_file(&dir, "d"), 0750, &info), ERR_OK);
    assert_int_equal(file_make_dir(tmpdir_file(&dir, "d"), 0750, &info), ERR_OK);
    tmpdir_write(&dir, "f", "");
    assert_int_equal(file_make_dir(tmpdir_file(&dir, "f"), 0750, &info), ERR_EXISTS);
    assert_int_equal(file_make_dir(tmpdir_file(&dir, "x/y"), 0750, &info), ERR_NOTFOUND);
    assert_int_equal(file_sync_dir(dir.path, &info), ERR_OK);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_write_and_read), T(test_no_folder),    T(test_a_folder_is_not_replaced),
        T(test_read_cap),       T(test_secret_modes), T(test_make_dir)
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
