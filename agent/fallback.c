#include "agent/fallback.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/address.h"
#include "agent/statedir.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

#define FOLDER "fallback"
#define KEY_NAME FOLDER "/privkey.pem"
#define CERT_NAME FOLDER "/cert.pem"

void fallback_clear(struct fallback *f)
{
    EVP_PKEY_free(f->key);
    X509_free(f->cert);
    *f = (struct fallback){ 0 };
}

/* The first label of the host's name, where it is one that DNS knows. */
static void read_host(char out[64])
{
    static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyz0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char host[256] = "";
    out[0] = 0;
    if (gethostname(host, sizeof host - 1) != 0)
        return;
    host[strcspn(host, ".")] = 0;
    size_t len = strlen(host);
    if (len > 0 && len < 64 && strspn(host, LETTERS) == len && host[0] != '-')
        memcpy(out, host, len + 1);
}

static void read_names(struct localcert_names *n, const struct config *c)
{
    static const struct ip LOOPBACK4 = { 4, { 127, 0, 0, 1 } }, LOOPBACK6 = { 6, { [15] = 1 } };
    *n = (struct localcert_names){ .n_addresses = 2, .addresses = { LOOPBACK4, LOOPBACK6 } };
    read_host(n->host);
    struct ip list[ADDRESS_MAX];
    size_t n_list = address_list(c, list);
    for (size_t i = 0; i < n_list && n->n_addresses < LOCALCERT_ADDRESSES_MAX; i++)
        n->addresses[n->n_addresses++] = list[i];
}

static enum err load_key(struct fallback *f, const char *state_dir, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, FOLDER, info);
    if (e == ERR_OK)
        e = file_make_dir(path, 0700, info);
    if (e == ERR_OK)
        e = statedir_path(path, state_dir, KEY_NAME, info);
    if (e == ERR_OK)
        e = key_load_or_make(&f->key, path, KEY_P256, info);
    if (e == ERR_OK || e == ERR_NOMEM)
        return e;
    /* without a local certificate there would be no TLS at all */
    log_warn("the local certificate gets a key that is not kept: %s", info->text);
    return key_new(&f->key, KEY_P256);
}

/* The stored certificate; NULL when there is none that can be read. */
static X509 *load_cert(const char *path)
{
    struct buf pem;
    STACK_OF(X509) *chain = NULL;
    X509 *cert = NULL;
    buf_init(&pem, CERT_PEM_MAX);
    if (file_read(path, &pem, NULL) == ERR_OK &&
        cert_chain_parse(&chain, buf_span(&pem), NULL) == ERR_OK)
        cert = sk_X509_shift(chain);
    sk_X509_pop_free(chain, X509_free);
    buf_clear(&pem);
    return cert;
}

static void save_cert(const char *path, X509 *cert)
{
    struct buf pem;
    struct err_info info;
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = cert_to_pem(cert, &pem);
    if (e != ERR_OK)
        (void)err_set(&info, e, "cannot write the local certificate as PEM");
    else
        e = file_write_atomic(path, buf_span(&pem), 0644, &info);
    if (e != ERR_OK)
        log_warn("the local certificate is kept in memory only: %s", info.text);
    buf_clear(&pem);
}

enum err fallback_refresh(struct fallback *f, const struct config *c, int64_t now_s, bool *changed,
                          struct err_info *info)
{
    struct localcert_names names;
    char path[PATH_MAX];
    struct fallback next = { 0 };
    *changed = false;
    read_names(&names, c);
    if (f->cert != NULL && localcert_suits(f->cert, f->key, &names, now_s))
        return ERR_OK;
    enum err e = load_key(&next, c->state_dir, info);
    if (e == ERR_OK)
        e = localcert_pin(next.key, next.pin);
    if (e == ERR_OK)
        e = statedir_path(path, c->state_dir, CERT_NAME, info);
    if (e != ERR_OK)
        goto out;
    next.cert = load_cert(path);
    if (next.cert == NULL || !localcert_suits(next.cert, next.key, &names, now_s)) {
        X509_free(next.cert);
        next.cert = NULL;
        e = localcert_new(&next.cert, next.key, &names, now_s);
        if (e != ERR_OK) {
            (void)err_set(info, e, "cannot make the local certificate");
            goto out;
        }
        save_cert(path, next.cert);
    }
    fallback_clear(f);
    *f = next;
    next = (struct fallback){ 0 };
    *changed = true;
out:
    fallback_clear(&next);
    return e;
}

enum err fallback_remove(const char *state_dir, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, FOLDER, info);
    return e == ERR_OK ? statedir_remove_folder(path, info) : e;
}
