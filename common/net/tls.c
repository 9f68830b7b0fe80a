#include "common/net/tls.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#define CIPHERS_TLS12 "ECDHE+AESGCM:ECDHE+CHACHA20"
#define GROUPS "X25519:P-256:P-384"
#define CLIENT_CERTS_MAX (32 * 1024) /* bytes of certificates that a client may send */
#define SESSIONS_MAX 4096
#define SESSION_LIFE_S 3600

static const unsigned char SESSION_CONTEXT[] = "lanyard";

const char *tls_error(char *out, size_t cap)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    if (reason != NULL)
        (void)snprintf(out, cap, "%s", reason);
    else
        (void)snprintf(out, cap, code != 0 ? "OpenSSL error %lx" : "no OpenSSL error", code);
    ERR_clear_error();
    return out;
}

/* In place of the check against roots and dates: a self-signed identity has no root, and a device's
 * clock may be wrong. That the client holds the key is proved by its CertificateVerify, which
 * OpenSSL checks before the handshake is done. [RFC 8446 s4.4.3] */
static int accept_any(X509_STORE_CTX *ctx, void *arg)
{
    (void)arg;
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    (void)ssl;
    const char *want = arg;
    size_t len = strlen(want);
    for (unsigned at = 0; at < in_len && in[at] < in_len - at; at += 1u + in[at]) {
        if (in[at] == len && memcmp(in + at + 1, want, len) == 0) {
            *out = in + at + 1;
            *out_len = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* [RFC 7301 s3.2] */
}

/* Sessions are kept here, not in tickets: there is no ticket key whose theft would open recorded
 * TLS 1.2 traffic. A client that closes without a close_notify, as many do, keeps its session:
 * whether all of a message came is told by the message. */
static void allow_resumption(SSL_CTX *ctx)
{
    (void)SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    (void)SSL_CTX_sess_set_cache_size(ctx, SESSIONS_MAX);
    (void)SSL_CTX_set_timeout(ctx, SESSION_LIFE_S);
}

/* No resumption here: each connection proves its key anew, so that nothing that was decided about
 * the key (suspended, forgotten) is carried past the decision. */
static void ask_for_key(SSL_CTX *ctx)
{
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_max_cert_list(ctx, CLIENT_CERTS_MAX);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
}

static bool configure(SSL_CTX *ctx, enum tls_peer peer)
{
    char groups[] = GROUPS; /* OpenSSL's macro casts const away */
    int lowest = peer == TLS_PEER_ANY_KEY ? TLS1_3_VERSION : TLS1_2_VERSION;
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                       SSL_OP_PRIORITIZE_CHACHA);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return SSL_CTX_set_min_proto_version(ctx, lowest) == 1 &&
           SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) == 1 &&
           SSL_CTX_set1_groups_list(ctx, groups) == 1 &&
           SSL_CTX_set_session_id_context(ctx, SESSION_CONTEXT, sizeof SESSION_CONTEXT - 1) == 1;
}

/* The leaf, its key and the rest of the chain. */
static bool use_chain(SSL_CTX *ctx, EVP_PKEY *key, STACK_OF(X509) * chain)
{
    if (sk_X509_num(chain) < 1 || SSL_CTX_use_certificate(ctx, sk_X509_value(chain, 0)) != 1 ||
        SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return false;
    for (int i = 1; i < sk_X509_num(chain); i++) {
        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(chain, i)) != 1)
            return false;
    }
    return true;
}

enum err tls_server_new(SSL_CTX **out, OSSL_LIB_CTX *library, EVP_PKEY *key, STACK_OF(X509) * chain,
                        enum tls_peer peer, const char *alpn, struct err_info *info)
{
    char why[160];
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new_ex(library, NULL, TLS_server_method());
    if (ctx == NULL || !configure(ctx, peer)) {
        SSL_CTX_free(ctx);
        return err_set(info, ERR_NOMEM, "cannot set up TLS: %s", tls_error(why, sizeof why));
    }
    if (!use_chain(ctx, key, chain)) {
        SSL_CTX_free(ctx);
        return err_set(info, ERR_CRYPTO, "cannot use the certificate and its key: %s",
                       tls_error(why, sizeof why));
    }
    if (peer == TLS_PEER_ANY_KEY)
        ask_for_key(ctx);
    else
        allow_resumption(ctx);
    if (alpn != NULL) /* only read: the cast is the callback's missing const */
        SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, (void *)(uintptr_t)alpn);
    *out = ctx;
    return ERR_OK;
}
