/* The file of suspended ids: what is the operator's stays, the rest is the database's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/base/file.h"
#include "provisiond/store/device.h"
#include "provisiond/store/stopped.h"
#include "tests/lib/storefix.h"
#include "tests/lib/tmpdir.h"

#define ZONE "direct.example"
#define DEV "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NOW 1800000000
#define MARK "# lanyard-provisiond replaces what is below this line; write your own above it\n"

static const struct {
    const char *why, *before; /* NULL: there is no file */
    const char *after;
} CASES[] = {
    { "no file", NULL, MARK DEV "\n" },
    { "an empty file", "", MARK DEV "\n" },
    { "the operator's only", "# mine\n10.9.0.0/16\n", "# mine\n10.9.0.0/16\n" MARK DEV "\n" },
    { "without a line end", "10.9.0.0/16", "10.9.0.0/16\n" MARK DEV "\n" },
    { "ours only", MARK "old\n", MARK DEV "\n" },
    { "both", "# mine\n" MARK "old\n", "# mine\n" MARK DEV "\n" },
    { "as it is already", "# mine\n" MARK DEV "\n", "# mine\n" MARK DEV "\n" },
};

static void suspend(struct fixture *fx)
{
    int64_t token_id;
    enum admission a;
    struct device_request rq = { .id = DEV, .zone = ZONE, .listed = true };
    struct sql_query q;
    memcpy(rq.spki_sha256, DEV, SPKI_HASH_LEN);
    assert_int_equal(device_admit(fx->db, &rq, NOW, &a, &token_id, NULL), ERR_OK);
    sql_begin(&q, fx->db, "UPDATE device SET state='suspended'");
    assert_false(sql_row(&q));
    assert_int_equal(sql_end(&q, NULL, NULL), ERR_OK);
}

static void the_files(void **state)
{
    struct fixture *fx = *state;
    suspend(fx);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct tmpdir dir;
        struct buf got;
        bool changed, again;
        print_message("%s\n", CASES[i].why);
        tmpdir_make(&dir);
        const char *path = tmpdir_file(&dir, "stopped.txt");
        if (CASES[i].before != NULL)
            assert_int_equal(file_write_atomic(path, span_str(CASES[i].before), 0644, NULL),
                             ERR_OK);
        assert_int_equal(stopped_write(fx->db, ZONE, path, NOW, &changed, NULL), ERR_OK);
        assert_int_equal(changed,
                         CASES[i].before == NULL || strcmp(CASES[i].before, CASES[i].after) != 0);
        assert_int_equal(stopped_write(fx->db, ZONE, path, NOW, &again, NULL), ERR_OK);
        assert_false(again);
        buf_init(&got, 4096);
        assert_int_equal(file_read(path, &got, NULL), ERR_OK);
        assert_string_equal(buf_str(&got), CASES[i].after);
        buf_clear(&got);
        tmpdir_remove(&dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_files, store_setup, store_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
