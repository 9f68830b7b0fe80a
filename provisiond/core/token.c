#include "provisiond/core/token.h"

#include <string.h>

#include <openssl/sha.h>

#include "common/base/base32.h"

#define PREFIX_LEN 3
static const char PREFIX[][PREFIX_LEN + 1] = { [TOKEN_ENROLMENT] = "lt_", [TOKEN_VIEWER] = "lv_" };

void token_format(char out[TOKEN_TEXT_LEN + 1], enum token_kind kind,
                  const uint8_t random[TOKEN_RANDOM_LEN])
{
    memcpy(out, PREFIX[kind], PREFIX_LEN);
    base32_encode((struct span){ random, TOKEN_RANDOM_LEN }, out + PREFIX_LEN);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

enum err token_hash(uint8_t out[TOKEN_HASH_LEN], enum token_kind kind, struct span text)
{
    uint8_t random[TOKEN_RANDOM_LEN];
    size_t len;
    while (text.len > 0 && is_space(text.p[0])) {
        text.p++;
        text.len--;
    }
    while (text.len > 0 && is_space(text.p[text.len - 1]))
        text.len--;
    if (text.len != TOKEN_TEXT_LEN || memcmp(text.p, PREFIX[kind], PREFIX_LEN) != 0)
        return ERR_INVALID;
    struct span tail = { text.p + PREFIX_LEN, text.len - PREFIX_LEN };
    if (base32_decode(tail, random, sizeof random, &len) != ERR_OK || len != sizeof random)
        return ERR_INVALID;
    /* over the bytes, so that letter case in a copied token does not matter */
    SHA256(random, sizeof random, out);
    explicit_bzero(random, sizeof random);
    return ERR_OK;
}
