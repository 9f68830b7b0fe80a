#include "provisiond/relays.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct relays {
    pthread_mutex_t lock; /* the store's threads look for relays, too */
    size_t n;
    struct relays_entry list[RELAYS_MAX];
};

enum err relays_new(struct relays **out)
{
    struct relays *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    (void)pthread_mutex_init(&r->lock, NULL);
    *out = r;
    return ERR_OK;
}

enum err relays_add(struct relays *r, const struct relays_entry *entry)
{
    (void)pthread_mutex_lock(&r->lock);
    enum err e = r->n < RELAYS_MAX ? ERR_OK : ERR_LIMIT;
    for (size_t i = 0; i < r->n && e == ERR_OK; i++) {
        if (strcmp(r->list[i].name, entry->name) == 0)
            e = ERR_EXISTS;
    }
    if (e == ERR_OK)
        r->list[r->n++] = *entry;
    (void)pthread_mutex_unlock(&r->lock);
    return e;
}

bool relays_pick(struct relays *r, const struct devid *id, const struct relaypick_failed *failed,
                 struct relays_entry *out)
{
    const char *names[RELAYS_MAX];
    (void)pthread_mutex_lock(&r->lock);
    bool found = r->n > 0;
    for (size_t i = 0; i < r->n; i++)
        names[i] = r->list[i].name;
    if (found)
        *out = r->list[relaypick(names, r->n, id, failed)];
    (void)pthread_mutex_unlock(&r->lock);
    return found;
}

bool relays_is_empty(struct relays *r)
{
    (void)pthread_mutex_lock(&r->lock);
    bool is_empty = r->n == 0;
    (void)pthread_mutex_unlock(&r->lock);
    return is_empty;
}

void relays_replace(struct relays *r, const struct relays *from)
{
    (void)pthread_mutex_lock(&r->lock);
    r->n = from->n;
    memcpy(r->list, from->list, sizeof r->list);
    (void)pthread_mutex_unlock(&r->lock);
}

void relays_free(struct relays *r)
{
    if (r == NULL)
        return;
    (void)pthread_mutex_destroy(&r->lock);
    explicit_bzero(r, sizeof *r);
    free(r);
}
