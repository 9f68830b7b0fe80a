#include "provisiond/relay/slots.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/secret.h"

#define NONE UINT32_MAX

struct slot {
    uint8_t secret[RELAYFRAME_SECRET_LEN];
    void *owner;        /* NULL: free */
    uint32_t next_free; /* while it is free */
};

struct slots {
    uint32_t n, first_free, last_free;
    struct slot slots[];
};

enum err slots_new(struct slots **out, size_t n)
{
    struct slots *s = calloc(1, sizeof *s + n * sizeof s->slots[0]);
    if (s == NULL)
        return ERR_NOMEM;
    s->n = (uint32_t)n;
    for (uint32_t i = 0; i < s->n; i++)
        s->slots[i].next_free = i + 1 < s->n ? i + 1 : NONE;
    s->last_free = s->n - 1;
    *out = s;
    return ERR_OK;
}

void slots_free(struct slots *s)
{
    if (s != NULL)
        explicit_bzero(s->slots, s->n * sizeof s->slots[0]);
    free(s);
}

enum err slots_put(struct slots *s, struct relayframe_key *key, void *owner)
{
    if (s->first_free == NONE)
        return ERR_LIMIT;
    struct slot *slot = &s->slots[s->first_free];
    key->slot = s->first_free;
    s->first_free = slot->next_free;
    if (s->first_free == NONE)
        s->last_free = NONE;
    memcpy(slot->secret, key->secret, sizeof slot->secret);
    slot->owner = owner;
    return ERR_OK;
}

/* To the end of the line, so that a slot rests before it is used again. */
void slots_drop(struct slots *s, uint32_t at)
{
    if (at >= s->n || s->slots[at].owner == NULL)
        return;
    s->slots[at] = (struct slot){ .next_free = NONE };
    if (s->last_free == NONE)
        s->first_free = at;
    else
        s->slots[s->last_free].next_free = at;
    s->last_free = at;
}

void *slots_owner(const struct slots *s, uint32_t at)
{
    return at < s->n ? s->slots[at].owner : NULL;
}

void *slots_take(struct slots *s, const struct relayframe_key *key)
{
    void *owner = slots_owner(s, key->slot);
    if (owner == NULL || !secret_equal(s->slots[key->slot].secret, key->secret, sizeof key->secret))
        return NULL;
    slots_drop(s, key->slot);
    return owner;
}
