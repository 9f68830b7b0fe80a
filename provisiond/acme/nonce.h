/* nonce.h - the replay nonces kept for the next requests, newest first: one for each order that is
 * under way at a busy hour, as each reply brings one and the next request may be a moment away. CAs
 * forget nonces, so they are not kept long. Pure; one thread. [RFC 8555 s6.5] */
#ifndef LANYARD_PROVISIOND_ACME_NONCE_H
#define LANYARD_PROVISIOND_ACME_NONCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NONCE_TEXT_MAX 256 /* bytes, NUL included; longer ones are refused */
#define NONCE_POOL_MAX 256 /* 66 KiB for an account */
#define NONCE_LIFE_MS 60000

struct nonce {
    char text[NONCE_TEXT_MAX];
    int64_t until_ms; /* monotonic */
};

struct nonce_pool {
    size_t n;
    struct nonce nonces[NONCE_POOL_MAX]; /* oldest first */
};

/* Keeps `text` in place of the oldest when full. Text that is not base64url (an intermediary's, a
 * hostile CA's) is ignored; NULL too. */
void nonce_put(struct nonce_pool *pool, const char *text, int64_t now_ms);

/* Takes the newest out; false when none is fresh. */
bool nonce_take(struct nonce_pool *pool, char out[NONCE_TEXT_MAX], int64_t now_ms);

#endif
