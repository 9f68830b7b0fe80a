#include "provisiond/acme/nonce.h"

#include <string.h>

static bool is_base64url(const char *text)
{
    size_t len = strnlen(text, NONCE_TEXT_MAX);
    return len > 0 && len < NONCE_TEXT_MAX &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == len;
}

void nonce_put(struct nonce_pool *pool, const char *text, int64_t now_ms)
{
    if (text == NULL || !is_base64url(text))
        return;
    if (pool->n == NONCE_POOL_MAX) {
        memmove(&pool->nonces[0], &pool->nonces[1], (NONCE_POOL_MAX - 1) * sizeof(struct nonce));
        pool->n--;
    }
    struct nonce *slot = &pool->nonces[pool->n++];
    memcpy(slot->text, text, strlen(text) + 1);
    slot->until_ms = now_ms + NONCE_LIFE_MS;
}

bool nonce_take(struct nonce_pool *pool, char out[NONCE_TEXT_MAX], int64_t now_ms)
{
    if (pool->n == 0)
        return false;
    const struct nonce *newest = &pool->nonces[pool->n - 1];
    if (now_ms >= newest->until_ms) {
        pool->n = 0; /* the others are older still */
        return false;
    }
    memcpy(out, newest->text, NONCE_TEXT_MAX);
    pool->n--;
    return true;
}
