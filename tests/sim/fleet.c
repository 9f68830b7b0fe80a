#include "tests/sim/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPREAD 0x9e3779b1u /* odd: numbers become ids in no order, as real ones have none */

static uint32_t inverse(uint32_t odd)
{
    uint32_t x = odd; /* Newton: each round doubles the bits that are right */
    for (int i = 0; i < 5; i++)
        x *= 2 - odd * x;
    return x;
}

bool fleet_init(struct fleet *f, size_t capacity, int64_t start_s, int64_t days)
{
    *f = (struct fleet){ .capacity = capacity,
                         .start_s = start_s,
                         .n_minutes = (size_t)days * 1440 + 2,
                         .entries_capacity = capacity * 3 + 1000,
                         .free_entry = FLEET_NONE,
                         .random = 0x2545f4914f6cdd1du };
    f->devices = calloc(capacity, sizeof *f->devices);
    f->first = malloc(f->n_minutes * sizeof *f->first);
    f->entries = malloc(f->entries_capacity * sizeof *f->entries);
    if (f->devices == NULL || f->first == NULL || f->entries == NULL)
        return false;
    memset(f->first, 0xff, f->n_minutes * sizeof *f->first);
    return true;
}

void fleet_clear(struct fleet *f)
{
    free(f->devices);
    free(f->first);
    free(f->entries);
}

void fleet_id(uint32_t device, char out[DEVID_LEN + 1])
{
    uint32_t v = device * SPREAD;
    memset(out, 'a', DEVID_LEN);
    out[DEVID_LEN] = 0;
    for (int i = 0; i < 7; i++)
        out[i] = "abcdefghijklmnopqrstuvwxyz234567"[v >> (i * 5) & (i == 6 ? 3 : 31)];
}

uint32_t fleet_device(const char *id)
{
    uint32_t v = 0;
    for (int i = 0; i < 7; i++) {
        uint32_t digit = id[i] >= 'a' ? (uint32_t)(id[i] - 'a') : (uint32_t)(id[i] - '2') + 26;
        v |= digit << (i * 5);
    }
    return v * inverse(SPREAD);
}

int64_t fleet_random(struct fleet *f, int64_t below)
{
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return below <= 0 ? 0 : (int64_t)(f->random >> 11) % below;
}

static uint32_t entry_new(struct fleet *f)
{
    uint32_t e = f->free_entry;
    if (e != FLEET_NONE) {
        f->free_entry = f->entries[e].next;
        return e;
    }
    if (f->n_entries == f->entries_capacity) {
        (void)fprintf(stderr, "the calendar is full\n");
        exit(1);
    }
    return (uint32_t)f->n_entries++;
}

void fleet_plan(struct fleet *f, uint32_t device, int64_t at)
{
    if (at < f->start_s)
        at = f->start_s;
    size_t minute = (size_t)(at - f->start_s) / 60;
    if (minute < f->minute)
        minute = f->minute;
    f->devices[device].act_at = at;
    if (minute >= f->n_minutes)
        return; /* after the end */
    uint32_t e = entry_new(f);
    f->entries[e] = (struct fleet_entry){ device, f->first[minute] };
    f->first[minute] = e;
}

uint32_t fleet_next(struct fleet *f, int64_t now_s)
{
    size_t last = (size_t)(now_s - f->start_s) / 60;
    for (; f->minute <= last && f->minute < f->n_minutes; f->minute++) {
        while (f->first[f->minute] != FLEET_NONE) {
            uint32_t e = f->first[f->minute], device = f->entries[e].device;
            struct device *d = &f->devices[device];
            f->first[f->minute] = f->entries[e].next;
            f->entries[e].next = f->free_entry;
            f->free_entry = e;
            /* planned for another minute since, or done already */
            if (d->act_at == 0 || (size_t)(d->act_at - f->start_s) / 60 > f->minute)
                continue;
            d->act_at = 0;
            return device;
        }
        if (f->minute == last)
            break;
    }
    return FLEET_NONE;
}

bool device_is_off(const struct device *d, int64_t now_s)
{
    return now_s >= d->off_from && now_s < d->off_until;
}
