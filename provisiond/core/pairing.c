#include "provisiond/core/pairing.h"

#include <ctype.h>
#include <string.h>

#include <openssl/sha.h>

#include "common/base/base32.h"

#define HALF 4 /* characters on each side of the hyphen */

void pairing_format(char out[PAIRING_TEXT_LEN + 1], const uint8_t random[PAIRING_RANDOM_LEN])
{
    char text[2 * HALF + 1];
    base32_encode((struct span){ random, PAIRING_RANDOM_LEN }, text);
    for (size_t i = 0; i < 2 * HALF; i++)
        out[i < HALF ? i : i + 1] = (char)toupper((unsigned char)text[i]);
    out[HALF] = '-';
    out[PAIRING_TEXT_LEN] = 0;
}

/* The digits that base32 leaves out because they look like letters. */
static uint8_t letter_of(uint8_t c)
{
    return c == '0' ? 'o' : c == '1' ? 'i' : c == '8' ? 'b' : c;
}

enum err pairing_hash(uint8_t out[PAIRING_HASH_LEN], struct span text)
{
    uint8_t plain[2 * HALF], random[PAIRING_RANDOM_LEN];
    size_t n = 0, len;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == '-' || text.p[i] == ' ')
            continue;
        if (n == sizeof plain)
            return ERR_INVALID;
        plain[n++] = letter_of(text.p[i]);
    }
    if (n != sizeof plain ||
        base32_decode((struct span){ plain, n }, random, sizeof random, &len) != ERR_OK)
        return ERR_INVALID;
    SHA256(random, sizeof random, out);
    explicit_bzero(random, sizeof random);
    explicit_bzero(plain, sizeof plain);
    return ERR_OK;
}

bool pairing_may_try(int64_t spent, int64_t n_live)
{
    return spent + n_live <= PAIRING_BUDGET;
}
