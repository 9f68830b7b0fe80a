#include "provisiond/core/est.h"

#include <string.h>
#include <strings.h>

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>

#define LINE 64 /* characters of base64 a line [RFC 7468 s2] */

static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

enum err est_decode(struct span body, struct buf *out)
{
    uint32_t bits = 0;
    unsigned n = 0, padding = 0;
    for (size_t i = 0; i < body.len; i++) {
        uint8_t c = body.p[i];
        int v = value_of(c);
        if (c == '\r' || c == '\n')
            continue;
        if (c == '=') {
            padding++;
            n++;
            continue;
        }
        if (v < 0 || padding > 0)
            return ERR_INVALID;
        bits = bits << 6 | (uint32_t)v;
        if (++n % 4 == 0) {
            uint8_t three[3] = { (uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits };
            buf_add(out, three, sizeof three);
            bits = 0;
        }
    }
    if (n == 0 || n % 4 != 0 || padding > 2)
        return ERR_INVALID;
    uint8_t rest[2] = { (uint8_t)(padding == 2 ? bits >> 4 : bits >> 10), (uint8_t)(bits >> 2) };
    if (padding > 0 && (bits & (padding == 2 ? 0xfu : 3u)) != 0)
        return ERR_INVALID; /* one spelling of every value */
    if (padding > 0)
        buf_add(out, rest, 3 - padding);
    return buf_error(out);
}

static enum err encode(const unsigned char *der, size_t len, struct buf *out)
{
    unsigned char text[LINE + 1];
    for (size_t i = 0; i < len; i += LINE / 4 * 3) {
        size_t n = len - i < LINE / 4 * 3 ? len - i : LINE / 4 * 3;
        int written = EVP_EncodeBlock(text, der + i, (int)n);
        buf_add(out, text, (size_t)written);
        buf_add_str(out, "\n");
    }
    return buf_error(out);
}

enum err est_certs_only(STACK_OF(X509) * certs, struct buf *out)
{
    unsigned char *der = NULL;
    enum err e = ERR_NOMEM;
    PKCS7 *p7 = PKCS7_new();
    if (p7 == NULL || PKCS7_set_type(p7, NID_pkcs7_signed) != 1 ||
        PKCS7_content_new(p7, NID_pkcs7_data) != 1)
        goto out;
    (void)PKCS7_set_detached(p7, 1); /* no content at all */
    for (int i = 0; i < sk_X509_num(certs); i++) {
        if (PKCS7_add_certificate(p7, sk_X509_value(certs, i)) != 1)
            goto out;
    }
    int n = i2d_PKCS7(p7, &der);
    if (n > 0)
        e = encode(der, (size_t)n, out);
out:
    OPENSSL_free(der);
    PKCS7_free(p7);
    return e;
}

/* Appends one DER element: tag, length, content. */
static void add_der(struct buf *b, uint8_t tag, struct span content)
{
    buf_add(b, &tag, 1);
    if (content.len > 0xff)
        buf_add(b, (uint8_t[]){ 0x82, (uint8_t)(content.len >> 8), (uint8_t)content.len }, 3);
    else if (content.len > 0x7f)
        buf_add(b, (uint8_t[]){ 0x81, (uint8_t)content.len }, 2);
    else
        buf_add(b, (uint8_t[]){ (uint8_t)content.len }, 1);
    buf_add_span(b, content);
}

static void add_oid(struct buf *b, int nid)
{
    const ASN1_OBJECT *o = OBJ_nid2obj(nid);
    add_der(b, V_ASN1_OBJECT, (struct span){ OBJ_get0_data(o), OBJ_length(o) });
}

/* SEQUENCE { oid, SET { value } } */
static void add_attribute(struct buf *b, int nid, struct span value)
{
    struct buf inner;
    buf_init(&inner, 1024);
    add_oid(&inner, nid);
    add_der(&inner, 0x31, value);
    add_der(b, 0x30, buf_span(&inner));
    buf_clear(&inner);
}

/* The value of an extensionRequest attribute: a list of one extension, the subjectAltName. */
static void add_san_request(struct buf *b, const char *name)
{
    struct buf a, c;
    buf_init(&a, 1024);
    buf_init(&c, 1024);
    add_der(&a, 0x82, span_str(name)); /* dNSName */
    add_der(&c, 0x30, buf_span(&a));   /* GeneralNames */
    buf_reset(&a);
    add_oid(&a, NID_subject_alt_name);
    add_der(&a, V_ASN1_OCTET_STRING, buf_span(&c));
    buf_reset(&c);
    add_der(&c, 0x30, buf_span(&a)); /* Extension */
    buf_reset(&a);
    add_der(&a, 0x30, buf_span(&c)); /* Extensions */
    add_attribute(b, NID_ext_req, buf_span(&a));
    buf_clear(&a);
    buf_clear(&c);
}

enum err est_csr_attributes(const char *name, struct buf *out)
{
    struct buf list, der;
    buf_init(&list, 2048);
    buf_init(&der, 2048);
    add_oid(&der, NID_X9_62_prime256v1);
    add_attribute(&list, NID_X9_62_id_ecPublicKey, buf_span(&der));
    buf_reset(&der);
    add_oid(&list, NID_ecdsa_with_SHA256);
    if (name != NULL)
        add_san_request(&list, name);
    add_der(&der, 0x30, buf_span(&list));
    enum err e = buf_error(&list) != ERR_OK ? buf_error(&list) : buf_error(&der);
    if (e == ERR_OK)
        e = encode(der.p, der.len, out);
    buf_clear(&list);
    buf_clear(&der);
    return e;
}

enum err est_basic_password(const char *header, struct buf *out)
{
    struct buf pair;
    if (strncasecmp(header, "Basic ", 6) != 0)
        return ERR_INVALID;
    buf_init(&pair, 512);
    enum err e = est_decode(span_str(header + 6), &pair);
    const uint8_t *colon = e == ERR_OK ? memchr(pair.p, ':', pair.len) : NULL;
    if (e == ERR_OK && (colon == NULL || memchr(pair.p, 0, pair.len) != NULL))
        e = ERR_INVALID;
    if (e == ERR_OK) {
        size_t skip = (size_t)(colon - pair.p) + 1;
        buf_add(out, pair.p + skip, pair.len - skip);
        e = buf_error(out);
    }
    buf_wipe(&pair);
    return e;
}
