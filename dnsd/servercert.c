#include "dnsd/servercert.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/net/tls.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

/* What tells one state of a file from another. */
struct stamp {
    dev_t dev;
    ino_t ino;
    off_t len;
    struct timespec written, changed;
};

struct servercert {
    char *paths[2]; /* certificate, key */
    struct stamp stamps[2];
    int64_t not_after_s; /* of the last one that was good */
};

static struct stamp stamp_of(const char *path)
{
    struct stat st;
    struct stamp s;
    memset(&s, 0, sizeof s); /* compared byte by byte */
    if (stat(path, &st) != 0)
        return s;
    s.dev = st.st_dev;
    s.ino = st.st_ino;
    s.len = st.st_size;
    s.written = st.st_mtim;
    s.changed = st.st_ctim;
    return s;
}

enum err servercert_new(struct servercert **out, const char *cert_path, const char *key_path)
{
    struct servercert *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->paths[0] = strdup(cert_path);
    c->paths[1] = strdup(key_path);
    if (c->paths[0] == NULL || c->paths[1] == NULL) {
        servercert_free(c);
        return ERR_NOMEM;
    }
    *out = c;
    return ERR_OK;
}

void servercert_free(struct servercert *c)
{
    if (c == NULL)
        return;
    free(c->paths[0]);
    free(c->paths[1]);
    free(c);
}

enum err servercert_load(struct servercert *c, SSL_CTX **out, struct err_info *info)
{
    EVP_PKEY *key = NULL;
    STACK_OF(X509) *chain = NULL;
    SSL_CTX *ctx = NULL;
    struct buf pem;
    buf_init(&pem, CERT_PEM_MAX);
    for (size_t i = 0; i < ARRAY_LEN(c->paths); i++)
        c->stamps[i] = stamp_of(c->paths[i]);
    enum err e = file_read(c->paths[0], &pem, info);
    if (e == ERR_OK) {
        e = cert_chain_parse(&chain, buf_span(&pem), info);
        if (e != ERR_OK)
            e = err_prefix(info, e, "%s: ", c->paths[0]);
    }
    int64_t not_before_s, not_after_s = 0;
    if (e == ERR_OK &&
        cert_validity(sk_X509_value(chain, 0), &not_before_s, &not_after_s) != ERR_OK)
        e = err_set(info, ERR_INVALID, "%s: its dates cannot be read", c->paths[0]);
    if (e == ERR_OK)
        e = key_load(&key, c->paths[1], info);
    if (e == ERR_OK)
        e = tls_server_new(&ctx, NULL, key, chain, TLS_PEER_ANONYMOUS, "dot", info);
    if (e == ERR_OK) {
        (void)SSL_CTX_set_num_tickets(ctx, 1); /* one session for a handshake is enough */
        SSL_CTX_set_read_ahead(ctx, 1);        /* many small questions by one system call */
        c->not_after_s = not_after_s;
        *out = ctx;
    }
    /* no descriptor, no memory: that passes, and the files do not change when it does */
    if (e == ERR_IO || e == ERR_NOMEM)
        memset(c->stamps, 0, sizeof c->stamps);
    buf_clear(&pem);
    EVP_PKEY_free(key);
    sk_X509_pop_free(chain, X509_free);
    return e;
}

bool servercert_has_changed(const struct servercert *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->paths); i++) {
        struct stamp now = stamp_of(c->paths[i]);
        if (memcmp(&now, &c->stamps[i], sizeof now) != 0)
            return true;
    }
    return false;
}

int64_t servercert_not_after(const struct servercert *c)
{
    return c->not_after_s;
}
