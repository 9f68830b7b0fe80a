/* The store when all goes well, and when it is damaged. What a crash does is in certstore_crash.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/lib/treeprint.h"
#include "tests/unit/agent/certset.h"

static struct testset SETS[5];

static int set_up_group(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SETS); i++)
        testset_make(&SETS[i]);
    return 0;
}

static int tear_down_group(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SETS); i++)
        testset_clear(&SETS[i]);
    return 0;
}

static int set_up(void **state)
{
    static struct treedir dir;
    struct err_info info;
    treedir_make(&dir);
    *state = &dir;
    return certstore_prepare(dir.path, &info) != ERR_OK;
}

static int tear_down(void **state)
{
    treedir_remove(*state);
    return 0;
}

static void install(const struct treedir *d, const struct testset *t)
{
    struct err_info info = { "" };
    if (certstore_install(d->path, t->key, t->chain, &TEST_BUNDLE, &ACCESS_PRIVATE, &info) !=
        ERR_OK)
        fail_msg("%s", info.text);
}

static bool exists(const struct treedir *d, const char *name)
{
    struct stat st;
    return lstat(treedir_path(d, name), &st) == 0;
}

static void test_generations(void **state)
{
    struct treedir *d = *state;
    struct certset set = { 0 };
    struct err_info info;
    assert_int_equal(certstore_current(d->path, &ACCESS_PRIVATE, &set, &info), ERR_NOTFOUND);
    for (unsigned i = 0; i < ARRAY_LEN(SETS); i++) {
        install(d, &SETS[i]);
        assert_true(current_is(d, &SETS[i]));
        assert_int_equal(certstore_current(d->path, &ACCESS_PRIVATE, &set, &info), ERR_OK);
        assert_int_equal(set.generation, i + 1);
        assert_string_equal(set.name, TEST_NAME);
        assert_string_equal(set.serial, "01");
        assert_int_equal(EVP_PKEY_eq(set.key, SETS[i].key), 1);
        assert_int_equal(set.not_after_s - set.not_before_s, 86460);
        certset_clear(&set);
    }
    assert_true(exists(d, "generations/3"));
    assert_true(exists(d, "generations/4"));
    assert_false(exists(d, "generations/2"));
    assert_false(exists(d, "generations/1"));
    assert_true(has_mode(treedir_path(d, "generations/5"), 0700));
}

static void test_leftovers(void **state)
{
    struct treedir *d = *state;
    struct err_info info;
    install(d, &SETS[0]);
    assert_int_equal(mkdir(treedir_path(d, "generations/2.new"), 0700), 0);
    treedir_write(d, "generations/2.new/privkey.pem", "half", 0600);
    assert_int_equal(mkdir(treedir_path(d, "generations/7"), 0700), 0);
    treedir_write(d, "generations/7/privkey.pem", "never made current", 0600);
    assert_int_equal(mkdir(treedir_path(d, "pending.new"), 0700), 0);
    assert_int_equal(symlink("generations/9", treedir_path(d, "current.new")), 0);
    assert_int_equal(certstore_prepare(d->path, &info), ERR_OK);
    assert_false(exists(d, "generations/2.new"));
    assert_false(exists(d, "generations/7"));
    assert_false(exists(d, "pending.new"));
    assert_false(exists(d, "current.new"));
    assert_true(current_is(d, &SETS[0]));
}

static void test_damage(void **state)
{
    struct treedir *d = *state;
    static const struct {
        const char *why, *file, *content;
        mode_t mode;
        enum err want;
    } CASES[] = {
        { "no key in it", "current/privkey.pem", "", 0600, ERR_INVALID },
        { "the key is open to others", "current/privkey.pem", NULL, 0644, ERR_DENIED },
        { "cut certificate", "current/fullchain.pem", "-----BEGIN CERTIFICATE-----\nMII", 0644,
          ERR_INVALID },
        { "empty certificate", "current/fullchain.pem", "", 0644, ERR_INVALID },
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct certset set = { 0 };
        struct err_info info = { "" };
        install(d, &SETS[i]);
        if (CASES[i].content != NULL)
            treedir_write(d, CASES[i].file, CASES[i].content, CASES[i].mode);
        else
            assert_int_equal(chmod(treedir_path(d, CASES[i].file), CASES[i].mode), 0);
        if (certstore_current(d->path, &ACCESS_PRIVATE, &set, &info) != CASES[i].want ||
            info.text[0] == 0)
            fail_msg("%s: %s", CASES[i].why, info.text);
    }
    /* another set's certificate beside the key */
    struct certset set = { 0 };
    struct err_info info;
    struct buf pem;
    install(d, &SETS[0]);
    buf_init(&pem, CERT_PEM_MAX);
    assert_int_equal(cert_to_pem(sk_X509_value(SETS[1].chain, 0), &pem), ERR_OK);
    treedir_write(d, "current/fullchain.pem", buf_str(&pem), 0644);
    assert_int_equal(certstore_current(d->path, &ACCESS_PRIVATE, &set, &info), ERR_CRYPTO);
    buf_clear(&pem);
    /* the folder is gone */
    install(d, &SETS[1]);
    assert_int_equal(unlink(treedir_path(d, "current")), 0);
    assert_int_equal(symlink("generations/999", treedir_path(d, "current")), 0);
    assert_int_equal(certstore_current(d->path, &ACCESS_PRIVATE, &set, &info), ERR_INVALID);
}

static void test_pending(void **state)
{
    struct treedir *d = *state;
    struct err_info info;
    EVP_PKEY *key = NULL;
    struct buf csr;
    buf_init(&csr, CSR_PEM_MAX);
    assert_int_equal(certstore_pending_get(d->path, &key, &csr, &info), ERR_NOTFOUND);
    assert_int_equal(certstore_pending_drop(d->path, &info), ERR_OK);
    for (size_t i = 0; i < 2; i++) {
        const struct testset *t = &SETS[i];
        assert_int_equal(certstore_pending_put(d->path, t->key, buf_span(&t->csr), &info), ERR_OK);
        buf_reset(&csr);
        assert_int_equal(certstore_pending_get(d->path, &key, &csr, &info), ERR_OK);
        assert_int_equal(EVP_PKEY_eq(key, t->key), 1);
        assert_true(span_equal(buf_span(&csr), buf_span(&t->csr)));
        EVP_PKEY_free(key);
        key = NULL;
    }
    assert_true(has_mode(treedir_path(d, "pending/privkey.pem"), 0600));
    assert_int_equal(certstore_pending_drop(d->path, &info), ERR_OK);
    assert_false(exists(d, "pending"));
    buf_clear(&csr);
}

static void test_wipe(void **state)
{
    struct treedir *d = *state;
    struct err_info info;
    install(d, &SETS[0]);
    install(d, &SETS[1]);
    assert_int_equal(certstore_pending_put(d->path, SETS[2].key, buf_span(&SETS[2].csr), &info),
                     ERR_OK);
    assert_int_equal(certstore_wipe(d->path, &info), ERR_OK);
    assert_int_equal(rmdir(d->path), 0); /* nothing is left in it */
    assert_int_equal(mkdir(d->path, 0700), 0);
    assert_int_equal(certstore_wipe(d->path, &info), ERR_OK);
}

/* Another mind about who may read what, with three sets on the disk: none of them may be read
 * longer than it says, and the sets behind the current one are not opened. */
static void test_set_access(void **state)
{
    struct treedir *d = *state;
    struct err_info info = { "" };
    struct access wide = ACCESS_PRIVATE, cert_only = ACCESS_PRIVATE;
    wide.of[FORM_PRIVKEY].mode = wide.of[FORM_BUNDLE].mode = 0640;
    cert_only.of[FORM_CERT].mode = 0640;
    for (size_t i = 0; i < 3; i++)
        install(d, &SETS[i]);
    assert_int_equal(certstore_set_access(d->path, &wide, &info), ERR_OK);
    assert_true(has_mode(treedir_path(d, "generations/3/privkey.pem"), 0640));
    assert_true(has_mode(treedir_path(d, "generations/3"), 0711));
    assert_true(has_mode(treedir_path(d, "generations/2/privkey.pem"), 0600));
    for (size_t i = 3; i < 5; i++) { /* sets that were made for the group */
        assert_int_equal(
            certstore_install(d->path, SETS[i].key, SETS[i].chain, &TEST_BUNDLE, &wide, &info),
            ERR_OK);
        assert_false(certstore_is_exposed(d->path, &wide));
    }
    assert_true(has_mode(treedir_path(d, "generations/4/bundle.p12"), 0640));
    assert_true(certstore_is_exposed(d->path, &cert_only));
    assert_int_equal(certstore_set_access(d->path, &cert_only, &info), ERR_OK);
    assert_false(certstore_is_exposed(d->path, &ACCESS_PRIVATE));
    for (unsigned n = 3; n <= 5; n++) {
        char name[64];
        (void)snprintf(name, sizeof name, "generations/%u/privkey.pem", n);
        assert_true(has_mode(treedir_path(d, name), 0600));
        (void)snprintf(name, sizeof name, "generations/%u/bundle.p12", n);
        assert_true(has_mode(treedir_path(d, name), 0600));
    }
    assert_true(has_mode(treedir_path(d, "current/cert.pem"), 0640));
    assert_true(has_mode(treedir_path(d, "generations/5"), 0711));
    assert_int_equal(certstore_set_access(d->path, &ACCESS_PRIVATE, &info), ERR_OK);
    assert_true(has_mode(treedir_path(d, "generations/5"), 0700));
    assert_true(has_mode(treedir_path(d, "generations"), 0700));
    assert_true(has_mode(d->path, 0711)); /* whose it is we do not know */
    assert_true(current_is(d, &SETS[4]));
    char *before = treeprint(d->path);
    assert_int_equal(certstore_set_access(d->path, &ACCESS_PRIVATE, &info), ERR_OK);
    char *after = treeprint(d->path);
    assert_string_equal(before, after); /* nothing is written without need */
    free(before);
    free(after);
    assert_int_equal(certstore_wipe(d->path, &info), ERR_OK);
    assert_int_equal(certstore_set_access(d->path, &wide, &info), ERR_OK);
    assert_false(certstore_is_exposed(d->path, &ACCESS_PRIVATE));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_generations), T(test_leftovers), T(test_damage),
        T(test_pending),     T(test_wipe),      T(test_set_access),
    };
#undef T
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
