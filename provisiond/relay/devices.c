#include "provisiond/relay/devices.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/secret.h"
#include "common/base/siphash.h"

#define N_BUCKETS 16384

LIST_HEAD(bucket, device);

struct devices {
    uint8_t seed[SIPHASH_KEY_LEN];
    struct bucket buckets[N_BUCKETS];
};

enum err devices_new(struct devices **out)
{
    struct devices *d = calloc(1, sizeof *d);
    if (d == NULL)
        return ERR_NOMEM;
    secret_random(d->seed, sizeof d->seed);
    *out = d;
    return ERR_OK;
}

void devices_free(struct devices *d)
{
    for (size_t i = 0; d != NULL && i < N_BUCKETS; i++) {
        struct device *dev;
        while ((dev = LIST_FIRST(&d->buckets[i])) != NULL) {
            LIST_REMOVE(dev, bucket);
            free(dev);
        }
    }
    free(d);
}

static struct bucket *bucket_of(struct devices *d, const struct devid *id)
{
    return &d->buckets[siphash(d->seed, id->text, DEVID_LEN) & (N_BUCKETS - 1)];
}

struct device *devices_find(struct devices *d, const struct devid *id)
{
    struct device *dev;
    LIST_FOREACH(dev, bucket_of(d, id), bucket)
    {
        if (memcmp(dev->id.text, id->text, DEVID_LEN) == 0)
            break;
    }
    return dev;
}

enum err devices_get(struct device **out, struct devices *d, const struct devid *id)
{
    struct device *dev = devices_find(d, id);
    if (dev == NULL) {
        dev = calloc(1, sizeof *dev);
        if (dev == NULL)
            return ERR_NOMEM;
        dev->id = *id;
        turns_member_init(&dev->member);
        LIST_INSERT_HEAD(bucket_of(d, id), dev, bucket);
    }
    *out = dev;
    return ERR_OK;
}

void devices_release(struct device *dev)
{
    if (dev->control != NULL || dev->n_circuits > 0)
        return;
    LIST_REMOVE(dev, bucket);
    free(dev);
}
