/* truetime.h - what time it is, as far as can be known. The clock of a device may be years off (no
 * battery, a router without NTP, somebody who answers in the time server's place); what the service
 * says in its answers is proven by TLS, and goes on by a clock that cannot be set and goes on in
 * suspend (CLOCK_BOOTTIME). It ends with the boot: nothing is stored. Pure; one thread. */
#ifndef LANYARD_AGENT_CORE_TRUETIME_H
#define LANYARD_AGENT_CORE_TRUETIME_H

#include <stdbool.h>
#include <stdint.h>

/* For so long the service's word counts against a clock that is ahead of it: a machine that was
 * paused from outside has lost time, and its clock may have been set right since. */
#define TRUETIME_TRUST_S (INT64_C(3) * 86400)

struct truetime {
    int64_t built_s;  /* no right clock says less, Unix seconds */
    int64_t date_s;   /* the service's last word, Unix seconds; 0: none yet */
    int64_t heard_ms; /* CLOCK_BOOTTIME, when that was */
    bool is_off;      /* the clock was wrong when last looked at */
};

/* What both clocks say at one moment. */
struct truetime_clocks {
    int64_t wall_s; /* Unix seconds */
    int64_t boot_ms;
};

/* Takes the service's word. One from before the build is none: false. */
bool truetime_hear(struct truetime *t, int64_t date_s, struct truetime_clocks at);

/* To be called now and then: a clock that is wrong now is right again once it is less than four
 * minutes away. */
void truetime_look(struct truetime *t, struct truetime_clocks at);

/* The time, Unix seconds: the clock's, unless it is more than five minutes (and 200 millionths of
 * the time since) away from the service's. One that was behind stays wrong until it is set; one
 * ahead is believed once the service has said nothing for TRUETIME_TRUST_S. Without a word of the
 * service it is the clock's, however wrong. */
int64_t truetime_now(const struct truetime *t, struct truetime_clocks at);

#endif
