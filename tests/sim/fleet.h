/* fleet.h - the devices of the simulator, and a calendar of what each does next. */
#ifndef LANYARD_TESTS_SIM_FLEET_H
#define LANYARD_TESTS_SIM_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/pki/devid.h"
#include "tests/sim/ca.h"

#define FLEET_NONE UINT32_MAX

struct device {
    struct ca_names names;       /* the view of the CA that issued its certificate */
    unsigned at;                 /* which CA that was */
    int64_t act_at;              /* when it wants to do something; 0: nothing planned */
    int64_t off_from, off_until; /* without power */
    int64_t chosen_at;           /* when to renew, as last told by the service */
    int64_t window_start, window_end;
    uint16_t n_asked;
    bool enrolled, waiting, was_revoked;
};

struct fleet {
    struct device *devices;
    size_t n, capacity;
    int64_t start_s;
    size_t n_minutes;
    size_t minute; /* the present one */
    /* The calendar: for each minute a list of entries. One that was planned over stays, and is
     * passed over when its minute comes. */
    uint32_t *first; /* by minute */
    struct fleet_entry {
        uint32_t device, next;
    } * entries;
    size_t n_entries, entries_capacity;
    uint32_t free_entry;
    uint64_t random;
};

/* Room for `capacity` devices and `days`. False: out of memory. */
bool fleet_init(struct fleet *f, size_t capacity, int64_t start_s, int64_t days);
void fleet_clear(struct fleet *f);

/* The id of a device, and back. */
void fleet_id(uint32_t device, char out[DEVID_LEN + 1]);
uint32_t fleet_device(const char *id);

/* Uniform in [0, below). */
int64_t fleet_random(struct fleet *f, int64_t below);

/* The device does something at `at`, instead of what was planned. */
void fleet_plan(struct fleet *f, uint32_t device, int64_t at);

/* Takes the next device whose time has come by `now_s`; FLEET_NONE when there is none. */
uint32_t fleet_next(struct fleet *f, int64_t now_s);

bool device_is_off(const struct device *d, int64_t now_s);

#endif
