/* turns.h - whose bytes are moved next: devices take turns, and within a device its connections,
 * each turn being a bounded number of bytes. So a device with sixty busy clients has no more of a
 * relay that is at its limit than one with a single client. Two paces bound it: that of the whole
 * relay and that of each device. Pure: time is passed in. One thread. */
#ifndef LANYARD_PROVISIOND_RELAY_TURNS_H
#define LANYARD_PROVISIOND_RELAY_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define TURNS_BYTES_MAX (256 * 1024) /* moved in one turn */
#define TURNS_BYTES_MIN (16 * 1024)

struct turns_job { /* one connection; zero it */
    TAILQ_ENTRY(turns_job) entry;
    bool queued;
};
TAILQ_HEAD(turns_jobs, turns_job);

enum turns_place { TURNS_OUT, TURNS_READY, TURNS_PARKED };

struct turns_member { /* one device; turns_member_init() */
    TAILQ_ENTRY(turns_member) entry;
    struct turns_jobs jobs;
    enum turns_place place;
    int64_t next_us; /* by its pace */
};
TAILQ_HEAD(turns_members, turns_member);

struct turns {
    struct turns_members ready, parked;
    int64_t bytes_per_s, member_bytes_per_s; /* 0: as fast as it goes */
    int64_t next_us;
};

void turns_init(struct turns *t);
void turns_member_init(struct turns_member *m);

/* From now on; 0 is no pace. */
void turns_set_pace(struct turns *t, int64_t bytes_per_s, int64_t member_bytes_per_s);

/* `job` of `m` has something to move. Nothing changes when it is queued already. */
void turns_add(struct turns *t, struct turns_member *m, struct turns_job *job);

/* Takes `job` of `m` out, as it must be before its memory goes. */
void turns_remove(struct turns *t, struct turns_member *m, struct turns_job *job);

/* The next to move at most *budget bytes: it is then out of the queue, and turns_used() is to be
 * called with what it moved, and turns_add() when it has more. NULL when none may: *wait_us is then
 * the time until one may, -1 when there is none. `now_us` is monotonic. */
struct turns_job *turns_next(struct turns *t, int64_t now_us, struct turns_member **m,
                             size_t *budget, int64_t *wait_us);
void turns_used(struct turns *t, struct turns_member *m, size_t bytes, int64_t now_us);

#endif
