#include "provisiond/acme/signer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "tests/lib/tmpdir.h"

static struct tmpdir dir;
static char path[512], next_path[512];

static int make_dir(void **state)
{
    (void)state;
    tmpdir_make(&dir);
    (void)snprintf(path, sizeof path, "%s", tmpdir_file(&dir, "account.pem"));
    (void)snprintf(next_path, sizeof next_path, "%s", tmpdir_file(&dir, "account.pem.next"));
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    return 0;
}

static struct signer *open_signer(void)
{
    struct signer *s = NULL;
    assert_int_equal(signer_open(&s, path, NULL), ERR_OK);
    return s;
}

static void sign(struct signer *s, enum signer_key which, enum err want)
{
    struct jws_header head = { .url = "https://ca.example/x", .nonce = "n" };
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(signer_sign(s, which, &head, span_str("{}"), &out), want);
    buf_clear(&out);
}

/* The next key is on disk, closed to others, before anybody can use it; a restart finds both. */
static void test_a_change_survives_at_every_moment(void **state)
{
    char old[JWS_THUMBPRINT_LEN + 1];
    struct stat st;
    (void)state;
    struct signer *s = open_signer();
    (void)snprintf(old, sizeof old, "%s", signer_thumbprint(s));
    assert_false(signer_has_next(s));
    sign(s, SIGNER_NEXT, ERR_ILLEGAL);
    assert_int_equal(signer_promote_next(s, NULL), ERR_ILLEGAL);
    assert_int_equal(signer_make_next(s, NULL), ERR_OK);
    assert_int_equal(stat(next_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_string_equal(signer_thumbprint(s), old);
    signer_free(s);

    s = open_signer(); /* as after a crash before the CA was told, or after it */
    assert_true(signer_has_next(s));
    assert_string_equal(signer_thumbprint(s), old);
    sign(s, SIGNER_NEXT, ERR_OK);
    unsigned generation = signer_generation(s);
    assert_int_equal(signer_promote_next(s, NULL), ERR_OK);
    assert_int_not_equal(signer_generation(s), generation);
    assert_string_not_equal(signer_thumbprint(s), old);
    assert_int_equal(access(next_path, F_OK), -1);
    char newer[JWS_THUMBPRINT_LEN + 1];
    (void)snprintf(newer, sizeof newer, "%s", signer_thumbprint(s));
    signer_free(s);

    s = open_signer();
    assert_string_equal(signer_thumbprint(s), newer);
    assert_int_equal(signer_make_next(s, NULL), ERR_OK);
    signer_discard_next(s);
    assert_int_equal(access(next_path, F_OK), -1);
    assert_string_equal(signer_thumbprint(s), newer);
    signer_free(s);
}

/* The service takes up the key that the admin tool has put in place. */
static void test_another_process_changes_the_key(void **state)
{
    (void)state;
    struct signer *service = open_signer();
    assert_false(signer_refresh(service));
    struct signer *tool = open_signer();
    assert_int_equal(signer_make_next(tool, NULL), ERR_OK);
    assert_false(signer_refresh(service));
    assert_int_equal(signer_promote_next(tool, NULL), ERR_OK);
    assert_true(signer_refresh(service));
    assert_string_equal(signer_thumbprint(service), signer_thumbprint(tool));
    assert_int_equal(unlink(path), 0);
    assert_false(signer_refresh(service)); /* a file that is away for a moment changes nothing */
    sign(service, SIGNER_PRESENT, ERR_OK);
    signer_free(tool);
    signer_free(service);
}

static void test_what_is_no_key(void **state)
{
    struct signer *s = NULL;
    (void)state;
    tmpdir_write(&dir, "junk.pem", "junk");
    (void)chmod(tmpdir_file(&dir, "junk.pem"), 0600);
    assert_int_equal(signer_open(&s, tmpdir_file(&dir, "junk.pem"), NULL), ERR_INVALID);
    (void)chmod(tmpdir_file(&dir, "junk.pem"), 0644);
    assert_int_equal(signer_open(&s, tmpdir_file(&dir, "junk.pem"), NULL), ERR_DENIED);
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_survives_at_every_moment),
        cmocka_unit_test(test_another_process_changes_the_key),
        cmocka_unit_test(test_what_is_no_key),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
