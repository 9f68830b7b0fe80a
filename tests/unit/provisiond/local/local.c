#include "provisiond/local/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/x509.h>

#include "common/base/clock.h"
#include "provisiond/core/chain.h"
#include "provisiond/local/issued.h"

#define WILD "*.abc.direct.example"
#define APEX "abc.direct.example"

static char base[] = "/tmp/lanyard-local-XXXXXX";
static struct loop *loop;
static struct localca *ca;
static struct issuer *issuer;
static EVP_PKEY *key;

/* The last reply of each kind, and how many came. */
static struct issuer_order order;
static struct issuer_authz authz;
static struct issuer_chain chain;
static char *chain_pem;
static int n_replies;

static void open_issuer(void)
{
    char dir[64];
    struct local_options o = { .name = "local" };
    (void)snprintf(dir, sizeof dir, "%s/ca", base);
    assert_int_equal(localca_open(&ca, dir, clock_now_s(), NULL), ERR_OK);
    o.ca = ca;
    assert_int_equal(local_issuer_new(&issuer, loop, &o), ERR_OK);
}

static void close_issuer(void)
{
    issuer->ops->free(issuer);
    localca_free(ca);
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(base) == NULL || loop_new(&loop) != ERR_OK)
        return 1;
    key = EVP_EC_gen("P-256");
    open_issuer();
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    close_issuer();
    loop_free(loop);
    EVP_PKEY_free(key);
    free(chain_pem);
    return nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void on_order(void *arg, const struct issuer_order *o)
{
    (void)arg;
    order = *o;
    n_replies++;
    loop_stop(loop);
}

static void on_authz(void *arg, const struct issuer_authz *a)
{
    (void)arg;
    authz = *a;
    n_replies++;
    loop_stop(loop);
}

static void on_chain(void *arg, const struct issuer_chain *c)
{
    (void)arg;
    chain = *c;
    free(chain_pem);
    chain_pem = c->pem.len > 0 ? strndup((const char *)c->pem.p, c->pem.len) : strdup("");
    n_replies++;
    loop_stop(loop);
}

/* Runs until the reply of the call just made, which must not be there yet. */
static void wait_reply(int before)
{
    assert_int_equal(n_replies, before);
    loop_run(loop);
    assert_int_equal(n_replies, before + 1);
}

static void order_new(const char *const *names, size_t n)
{
    int before = n_replies;
    struct issuer_params params = { .names = names, .n_names = n };
    issuer->ops->order_new(issuer, &params, on_order, NULL);
    wait_reply(before);
}

static void finalize(const struct issuer_order *o, struct span csr)
{
    struct issuer_order copy = *o;
    int before = n_replies;
    issuer->ops->finalize(issuer, &copy, csr, on_order, NULL);
    memset(&copy, 0, sizeof copy); /* only borrowed during the call */
    wait_reply(before);
}

static void download(const char *url)
{
    int before = n_replies;
    issuer->ops->download(issuer, url, on_chain, NULL);
    wait_reply(before);
}

static void on_done(void *arg, const struct issuer_reply *reply)
{
    *(enum issuer_verdict *)arg = reply->verdict;
    n_replies++;
    loop_stop(loop);
}

static void on_window(void *arg, const struct issuer_window *window)
{
    on_done(arg, &window->reply);
}

static void on_account(void *arg, const struct issuer_account *account)
{
    on_done(arg, &account->reply);
}

static size_t make_csr(uint8_t *out, EVP_PKEY *signer)
{
    X509_REQ *req = X509_REQ_new();
    X509_REQ_set_pubkey(req, key);
    X509_REQ_sign(req, signer, EVP_sha256());
    unsigned char *p = out;
    int n = i2d_X509_REQ(req, &p);
    X509_REQ_free(req);
    return (size_t)n;
}

static void test_issuance_survives_restarts(void **state)
{
    static const char *const NAMES[] = { WILD, APEX };
    uint8_t csr[1024], hash[SPKI_HASH_LEN];
    size_t n = make_csr(csr, key);
    struct chain_facts facts;
    (void)state;
    order_new(NAMES, 2);
    assert_int_equal(order.reply.verdict, ISSUER_OK);
    assert_int_equal(order.status, ISSUER_READY);
    assert_int_equal(order.n_authz, 0);
    struct issuer_order made = order;

    close_issuer();
    open_issuer();
    int before = n_replies;
    issuer->ops->order_get(issuer, made.url, on_order, NULL);
    wait_reply(before);
    assert_int_equal(order.status, ISSUER_READY);
    assert_string_equal(order.finalize_url, made.finalize_url);

    finalize(&made, (struct span){ csr, n });
    assert_int_equal(order.status, ISSUER_VALID);
    assert_string_equal(order.url, made.url);
    struct issuer_order valid = order;
    close_issuer();
    open_issuer();
    download(valid.certificate_url);
    assert_int_equal(chain.reply.verdict, ISSUER_OK);
    char *first = strdup(chain_pem);

    finalize(&made, (struct span){ csr, n }); /* as after a crash: the same certificate */
    assert_string_equal(order.certificate_url, valid.certificate_url);
    download(order.certificate_url);
    assert_string_equal(chain_pem, first);

    assert_int_equal(devid_spki_hash(hash, key), ERR_OK);
    struct chain_above above = { .certs = NULL };
    struct chain_expect expect = { hash, NAMES, 2, clock_now_s(), &above };
    assert_int_equal(chain_check(span_str(first), &expect, &facts, NULL), ERR_OK);
    assert_true(facts.ari_id[0] != 0);
    chain_above_clear(&above);
    buf_clear(&facts.pem);

    order_new(NAMES, 2); /* a new order for the same request is another certificate */
    finalize(&order, (struct span){ csr, n });
    assert_string_not_equal(order.certificate_url, valid.certificate_url);
    free(first);
}

static void test_bad_requests(void **state)
{
    static const char *const NAMES[] = { WILD };
    static const char *const URLS[] = { "", "local:order:", "local:order:00,a",
                                        "local:cert:../../etc/passwd", "https://ca.example/" };
    uint8_t csr[1024];
    EVP_PKEY *other = EVP_EC_gen("P-256");
    size_t n = make_csr(csr, other);
    (void)state;
    order_new(NAMES, 1);
    finalize(&order, (struct span){ csr, n });
    assert_int_equal(order.reply.verdict, ISSUER_DEVICE);
    order_new(NAMES, 1);
    finalize(&order, span_str("junk"));
    assert_int_equal(order.reply.verdict, ISSUER_DEVICE);
    for (size_t i = 0; i < ARRAY_LEN(URLS); i++) {
        int before = n_replies;
        issuer->ops->order_get(issuer, URLS[i], on_order, NULL);
        wait_reply(before);
        assert_int_equal(order.reply.verdict, ISSUER_NEW_ORDER);
        download(URLS[i]);
        assert_int_equal(chain.reply.verdict, ISSUER_NEW_ORDER);
    }
    int before = n_replies;
    issuer->ops->authz_get(issuer, "local:authz", on_authz, NULL);
    wait_reply(before);
    assert_int_equal(authz.reply.verdict, ISSUER_NEW_ORDER);
    EVP_PKEY_free(other);
}

/* What a private CA does not have is refused, and its facts say so before. */
static void test_without_account_and_renewal_windows(void **state)
{
    enum issuer_verdict v = ISSUER_RETRY;
    struct issuer_facts facts;
    const struct issuer_ops *ops = issuer->ops;
    (void)state;
    ops->facts(issuer, &facts);
    assert_true(facts.known && !facts.has_renewal_info && facts.has_revocation);
    ops->probe(issuer, on_done, &v);
    wait_reply(n_replies);
    assert_int_equal(v, ISSUER_OK);
    ops->renewal_info(issuer, "a.b", on_window, &v);
    wait_reply(n_replies);
    assert_int_equal(v, ISSUER_PERMANENT);
    struct issuer_revocation what = { .cert_der = span_str("x") };
    ops->account(issuer, ISSUER_ACCOUNT_SHOW, on_account, &v);
    wait_reply(n_replies);
    assert_int_equal(v, ISSUER_OK);
    ops->revoke(issuer, &what, on_done, &v);
    wait_reply(n_replies);
    assert_int_equal(v, ISSUER_OK);
    ops->account(issuer, ISSUER_ACCOUNT_ROLLOVER, on_account, &v);
    wait_reply(n_replies);
    assert_int_equal(v, ISSUER_PERMANENT);
}

/* Freed with calls under way: no callback, no leak. */
static void test_freed_early(void **state)
{
    static const char *const NAMES[] = { WILD };
    int before = n_replies;
    (void)state;
    struct issuer_params params = { .names = NAMES, .n_names = 1 };
    issuer->ops->order_new(issuer, &params, on_order, NULL);
    issuer->ops->order_new(issuer, &params, on_order, NULL);
    close_issuer();
    open_issuer();
    order_new(NAMES, 1);
    assert_int_equal(n_replies, before + 1);
}

static void test_prune(void **state)
{
    struct issued_key k;
    struct buf pem;
    (void)state;
    buf_init(&pem, 64);
    assert_int_equal(issued_key_make(&k, "order", span_str("csr")), ERR_OK);
    assert_int_equal(issued_put(localca_dir(ca), k.text, span_str("pem"), NULL), ERR_OK);
    issued_prune(localca_dir(ca), clock_now_s() - 60);
    assert_int_equal(issued_get(localca_dir(ca), k.text, &pem, NULL), ERR_OK);
    issued_prune(localca_dir(ca), clock_now_s() + 60);
    assert_int_equal(issued_get(localca_dir(ca), k.text, &pem, NULL), ERR_NOTFOUND);
    buf_clear(&pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_issuance_survives_restarts),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_without_account_and_renewal_windows),
        cmocka_unit_test(test_freed_early),
        cmocka_unit_test(test_prune),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
