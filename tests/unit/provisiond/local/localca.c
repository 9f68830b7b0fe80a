#include "provisiond/local/localca.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/x509v3.h>

#include "common/base/file.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

#define NOW INT64_C(1795000000)
#define DAY ((int64_t)86400)
#define YEAR (365 * DAY)

static char base[] = "/tmp/lanyard-localca-XXXXXX";
static const char *const FILES[] = { "root.key", "root.pem", "intermediate.key",
                                     "intermediate.pem" };

static int make_base(void **state)
{
    (void)state;
    return mkdtemp(base) == NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int remove_base(void **state)
{
    (void)state;
    return nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path below the test's folder; one at a time. */
static const char *path(const char *dir, const char *file)
{
    static char out[PATH_MAX];
    (void)snprintf(out, sizeof out, "%s/%s%s%s", base, dir, file[0] != 0 ? "/" : "", file);
    return out;
}

static struct localca *open_ca(const char *dir, int64_t now_s)
{
    struct localca *ca = NULL;
    struct err_info info = { "" };
    if (localca_open(&ca, path(dir, ""), now_s, &info) != ERR_OK)
        fail_msg("%s", info.text);
    return ca;
}

/* A leaf and its chain, verified by OpenSSL against root.pem of `dir` at `at_s`. */
static STACK_OF(X509) *
    issue(struct localca *ca, EVP_PKEY *key, const char *const *names, size_t n, int64_t now_s)
{
    struct localca_leaf leaf = { .names = names, .n_names = n, .now_s = now_s, .life_s = 90 * DAY };
    struct buf pem;
    struct err_info info = { "" };
    STACK_OF(X509) *chain = NULL;
    buf_init(&pem, CERT_PEM_MAX);
    if (localca_issue(ca, key, &leaf, &pem, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_int_equal(cert_chain_parse(&chain, buf_span(&pem), NULL), ERR_OK);
    buf_clear(&pem);
    return chain;
}

static int verify(STACK_OF(X509) * chain, const char *root_pem, const char *host, int64_t at_s)
{
    struct buf pem;
    STACK_OF(X509) *roots = NULL;
    buf_init(&pem, CERT_PEM_MAX);
    buf_add_str(&pem, root_pem);
    assert_int_equal(cert_chain_parse(&roots, buf_span(&pem), NULL), ERR_OK);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_CTX_init(ctx, NULL, sk_X509_value(chain, 0), chain);
    X509_STORE_CTX_set0_trusted_stack(ctx, roots);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_time(param, (time_t)at_s);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set1_host(param, host, 0);
    int ok = X509_verify_cert(ctx);
    int why = X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    sk_X509_pop_free(roots, X509_free);
    buf_clear(&pem);
    return ok == 1 ? X509_V_OK : why;
}

static char *read_text(const char *p)
{
    struct buf b;
    buf_init(&b, 65536);
    assert_int_equal(file_read(p, &b, NULL), ERR_OK);
    return buf_take(&b);
}

static void test_made_once_and_closed(void **state)
{
    static const mode_t MODES[] = { 0600, 0644, 0600, 0644 };
    char *first[4], *second;
    struct stat st;
    (void)state;
    localca_free(open_ca("once", NOW));
    assert_int_equal(stat(path("once", ""), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (size_t i = 0; i < 4; i++) {
        first[i] = read_text(path("once", FILES[i]));
        assert_int_equal(stat(path("once", FILES[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, MODES[i]);
    }
    localca_free(open_ca("once", NOW + YEAR));
    for (size_t i = 0; i < 4; i++) {
        second = read_text(path("once", FILES[i]));
        assert_string_equal(first[i], second);
        free(first[i]);
        free(second);
    }
}

/* A kill leaves the first N files: what is made from them is whole again, on the same keys. */
static void test_a_kill_between_any_two_files(void **state)
{
    static const char *const NAMES[] = { "*.a.example" };
    EVP_PKEY *key = NULL;
    (void)state;
    assert_int_equal(key_new(&key, KEY_P256), ERR_OK);
    for (size_t kept = 0; kept <= 4; kept++) {
        char dir[16];
        (void)snprintf(dir, sizeof dir, "kill%zu", kept);
        localca_free(open_ca(dir, NOW));
        char *root_key = read_text(path(dir, "root.key"));
        for (size_t i = kept; i < 4; i++)
            assert_int_equal(unlink(path(dir, FILES[i])), 0);
        struct localca *ca = open_ca(dir, NOW + 5);
        char *again = read_text(path(dir, "root.key"));
        assert_int_equal(strcmp(root_key, again) == 0, kept > 0);
        char *root = read_text(localca_root_path(ca));
        STACK_OF(X509) *chain = issue(ca, key, NAMES, 1, NOW + 5);
        assert_int_equal(verify(chain, root, "x.a.example", NOW + 5), X509_V_OK);
        sk_X509_pop_free(chain, X509_free);
        localca_free(ca);
        free(root_key);
        free(again);
        free(root);
    }
    EVP_PKEY_free(key);
}

static void test_leaf(void **state)
{
    static const char *const NAMES[] = { "device.example", "192.0.2.7", "2001:db8::7" };
    EVP_PKEY *key = NULL;
    int64_t from, to;
    (void)state;
    struct localca *ca = open_ca("leaf", NOW);
    assert_int_equal(key_new(&key, KEY_RSA2048), ERR_OK); /* old clients' keys too */
    STACK_OF(X509) *chain = issue(ca, key, NAMES, 3, NOW);
    X509 *leaf = sk_X509_value(chain, 0);
    assert_int_equal(sk_X509_num(chain), 2);
    assert_int_equal(X509_check_ip_asc(leaf, "192.0.2.7", 0), 1);
    assert_int_equal(X509_check_ip_asc(leaf, "2001:db8::7", 0), 1);
    assert_int_equal(X509_check_host(leaf, "device.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(leaf, "192.0.2.7", 0, 0, NULL), 0);
    assert_int_equal(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER);
    assert_int_equal(cert_validity(leaf, &from, &to), ERR_OK);
    assert_int_equal(from, NOW - 300);
    assert_int_equal(to, NOW + 90 * DAY);
    char serial[64], other[64];
    assert_int_equal(cert_serial_hex(leaf, serial, sizeof serial), ERR_OK);
    assert_int_equal(strlen(serial), 32);
    assert_true(serial[0] >= '4' && serial[0] <= '7');
    STACK_OF(X509) *second = issue(ca, key, NAMES, 3, NOW);
    assert_int_equal(cert_serial_hex(sk_X509_value(second, 0), other, sizeof other), ERR_OK);
    assert_string_not_equal(serial, other);
    sk_X509_pop_free(chain, X509_free);
    sk_X509_pop_free(second, X509_free);
    localca_free(ca);
    EVP_PKEY_free(key);
}

/* Years later, by a process that never restarts: the intermediate is renewed in time, a leaf never
 * outlives it, and the root that clients installed on the first day still holds. */
static void test_renewed_at_half_life(void **state)
{
    static const char *const NAMES[] = { "*.a.example" };
    EVP_PKEY *key = NULL;
    int64_t from, to;
    (void)state;
    struct localca *ca = open_ca("renew", NOW);
    char *root = read_text(localca_root_path(ca));
    char *first = read_text(path("renew", "intermediate.pem"));
    assert_int_equal(key_new(&key, KEY_P256), ERR_OK);
    for (int64_t at = NOW; at < NOW + 9 * YEAR; at += 300 * DAY) {
        STACK_OF(X509) *chain = issue(ca, key, NAMES, 1, at);
        assert_int_equal(verify(chain, root, "x.a.example", at), X509_V_OK);
        assert_int_equal(verify(chain, root, "x.a.example", at + 90 * DAY - 1), X509_V_OK);
        assert_int_equal(cert_validity(sk_X509_value(chain, 1), &from, &to), ERR_OK);
        assert_true(to - at >= 2 * YEAR);
        sk_X509_pop_free(chain, X509_free);
    }
    char *last = read_text(path("renew", "intermediate.pem"));
    assert_string_not_equal(first, last);
    free(first);
    free(last);
    free(root);
    localca_free(ca);
    EVP_PKEY_free(key);
}

static void test_refusals(void **state)
{
    static const char *const BAD[] = { "", "a b", "caf\xc3\xa9.example" };
    struct localca *ca = open_ca("refuse", NOW), *other = NULL;
    struct buf pem;
    struct err_info info;
    EVP_PKEY *key = NULL;
    (void)state;
    buf_init(&pem, CERT_PEM_MAX);
    assert_int_equal(key_new(&key, KEY_P256), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct localca_leaf leaf = { .names = &BAD[i], .n_names = 1, .now_s = NOW, .life_s = DAY };
        assert_int_equal(localca_issue(ca, key, &leaf, &pem, &info), ERR_INVALID);
    }
    struct localca_leaf none = { .names = BAD, .n_names = 0, .now_s = NOW, .life_s = DAY };
    assert_int_equal(localca_issue(ca, key, &none, &pem, &info), ERR_INVALID);

    localca_free(open_ca("other", NOW));
    char *foreign = read_text(path("other", "root.pem"));
    assert_int_equal(file_write_atomic(path("refuse", "root.pem"), span_str(foreign), 0644, NULL),
                     ERR_OK);
    assert_int_equal(localca_open(&other, path("refuse", ""), NOW, &info), ERR_CRYPTO);
    assert_non_null(strstr(info.text, "root.pem"));
    assert_int_equal(chmod(path("other", "root.key"), 0644), 0);
    assert_int_equal(localca_open(&other, path("other", ""), NOW, &info), ERR_DENIED);
    free(foreign);
    buf_clear(&pem);
    EVP_PKEY_free(key);
    localca_free(ca);
}

static void test_server_cert(void **state)
{
    static const char *const NAMES[] = { "localhost", "127.0.0.1" };
    struct localca_leaf leaf = { .names = NAMES, .n_names = 2, .now_s = NOW, .life_s = 30 * DAY };
    STACK_OF(X509) *chain = NULL;
    EVP_PKEY *key = NULL;
    (void)state;
    struct localca *ca = open_ca("server", NOW);
    assert_int_equal(localca_server_cert(ca, &leaf, &key, &chain, NULL), ERR_OK);
    char *root = read_text(localca_root_path(ca));
    assert_int_equal(X509_check_private_key(sk_X509_value(chain, 0), key), 1);
    assert_int_equal(verify(chain, root, "localhost", NOW), X509_V_OK);
    free(root);
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    localca_free(ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_once_and_closed),
        cmocka_unit_test(test_a_kill_between_any_two_files),
        cmocka_unit_test(test_leaf),
        cmocka_unit_test(test_renewed_at_half_life),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_server_cert),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
