#include "dnsd/core/keyring.h"

#include <stdlib.h>

void keyring_free(struct keyring *ring)
{
    if (ring == NULL)
        return;
    for (size_t i = 0; i < ring->n; i++)
        sign_key_clear(&ring->keys[i].key);
    free(ring);
}
