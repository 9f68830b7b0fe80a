/* Any bytes: a body decodes to what encodes to the same base64, or is refused; a Basic header gives
 * a password without NUL that is shorter than the header, or is refused. */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "provisiond/core/est.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_body(const uint8_t *data, size_t size)
{
    struct buf out;
    buf_init(&out, 4096);
    if (est_decode((struct span){ data, size }, &out) == ERR_OK) {
        unsigned char text[8192];
        char plain[8192];
        size_t n = 0;
        int len = EVP_EncodeBlock(text, out.p, (int)out.len);
        for (size_t i = 0; i < size && n < sizeof plain; i++)
            if (data[i] != '\r' && data[i] != '\n')
                plain[n++] = (char)data[i];
        if ((size_t)len != n || memcmp(text, plain, n) != 0)
            abort();
    }
    buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf password;
    if (size > 4096)
        return 0;
    check_body(data, size);
    char *header = strndup((const char *)data, size);
    if (header == NULL)
        return 0;
    buf_init(&password, 256);
    if (est_basic_password(header, &password) == ERR_OK &&
        (password.len >= strlen(header) || memchr(buf_str(&password), 0, password.len) != NULL))
        abort();
    buf_wipe(&password);
    free(header);
    return 0;
}
