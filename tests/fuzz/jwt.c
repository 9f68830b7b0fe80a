/* First byte 't': a token, any bytes. No token is accepted but the three of the corpus, whose keys
 * exist no more: the bytes that were signed must be theirs. First byte 'k': a key set; every key of
 * it is one that can be asked its size. 'd': the document of an issuer; what is taken from it is a
 * URL over https. */
#include <stdlib.h>
#include <string.h>

#include "provisiond/core/jwt.h"
#include "provisiond/core/oidcdoc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char KEYS[] =
    "{\"keys\":[{\"kid\":\"r\",\"kty\":\"RSA\",\"n\":\"uIf-b-yk87OkU7B6qNl-hVGrCC-NxSAq-ruicCTdWkG"
    "iHPFXcwXkszN7hlPKYeqe86SVDiMyAVh7CbTiHAjqHrcy6mlbAUhQoG7c07ijzL8gCecnZyjVnBwdEve"
    "vUwv5n0fgZm2UtdMehJTbU87hxA7gIn4Sr216gS9O5SC8WnReEvg-WSEAj-Z81mZAhK_MojaZrumx_7P"
    "VpkUNrlOX1hgJd9bEVSQoxNvW2MqdAWzX_P4WGCKo0a1KrL28VAXjmPV1Xf4QMolQ4xHnIryjQP2zWHO"
    "Z4svw0XdNwSj7RLLHa4-6MehsKYquEeV_rHxNxjGE4wuyfeJ8SIXjA3ooAQ\",\"e\":\"AQAB\"},{\"kid\":"
    "\"e\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"jwYvhOLiSxsBSyPlXrs4wNuUJLfetDe30Qmqh9W1L4A\","
    "\""
    "y\":\"XoelgnT-7zslrijRduMGt5WyhRAEP8CZKqvHGgAYiL0\"},{\"kid\":\"d\",\"kty\":\"OKP\",\"crv\":\""
    "Ed25519\",\"x\":\"6zi2XxPnlu4RhYJm6WZ94saL4xtXxObfDfS9uI75NEg\"}]}";

/* The claims of all three, as they were encoded. */
static const char CLAIMS[] = "eyJpc3MiOiAiaHR0cHM6Ly9pLmV4YW1wbGUiLCAic3ViIjogInUiLCAiYXVkIjogWyJhI"
                             "iwgImIiXSwgImV4cCI6IDE3MDA"
                             "wMDAwMDAsICJuYmYiOiAxLCAiaWF0IjogMS41fQ";

static void check_token(struct span token)
{
    static struct jwks *keys;
    struct jwt t;
    struct err_info info;
    if (keys == NULL && jwks_parse(&keys, span_str(KEYS), &info) != ERR_OK)
        abort();
    if (jwt_parse(&t, token, &info) != ERR_OK)
        return;
    if (t.alg >= JWKS_ALG_N || t.iss[0] == 0 || t.sub[0] == 0 || t.n_aud == 0 || t.exp < 0)
        abort();
    if (jwt_verify(&t, token, keys) != ERR_OK)
        return;
    const uint8_t *claims = (const uint8_t *)memchr(token.p, '.', token.len) + 1;
    size_t len = (size_t)((const uint8_t *)memrchr(token.p, '.', token.len) - claims);
    if (!span_equal((struct span){ claims, len }, span_str(CLAIMS)))
        abort();
}

static void check_set(struct span text)
{
    struct jwks *s;
    struct err_info info;
    if (jwks_parse(&s, text, &info) != ERR_OK)
        return;
    if (jwks_count(s) > JWKS_KEYS_MAX)
        abort();
    for (unsigned alg = 0; alg < JWKS_ALG_N; alg++) {
        EVP_PKEY *key = jwks_find(s, "", (enum jwks_alg)alg);
        if (key != NULL && (EVP_PKEY_get_bits(key) < 253 || EVP_PKEY_get_bits(key) > 8192))
            abort();
    }
    jwks_free(s);
}

static void check_document(struct span text)
{
    char url[OIDCDOC_URL_MAX];
    struct err_info info;
    if (oidcdoc_parse(url, text, "https://i.example", &info) == ERR_OK &&
        (strncmp(url, "https://", 8) != 0 || strpbrk(url, " \r\n") != NULL))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span rest = { data + 1, size - 1 };
    if (data[0] == 't')
        check_token(rest);
    else if (data[0] == 'k')
        check_set(rest);
    else if (data[0] == 'd')
        check_document(rest);
    return 0;
}
