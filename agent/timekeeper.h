/* timekeeper.h - core/truetime with the clocks of this machine: the time by which certificates are
 * served and renewed. One loop, its thread. */
#ifndef LANYARD_AGENT_TIMEKEEPER_H
#define LANYARD_AGENT_TIMEKEEPER_H

#include <stdint.h>

#include "agent/core/truetime.h"

/* Knows nothing yet but when this program was made. */
void timekeeper_init(struct truetime *t);

/* Takes the Date of an answer of the service, Unix seconds. */
void timekeeper_hear(struct truetime *t, int64_t date_s);

/* To be called now and then: what is thought of the clock; `t` NULL: nothing. */
void timekeeper_look(struct truetime *t);

/* Unix seconds; `t` NULL: what the clock says. */
int64_t timekeeper_now_s(const struct truetime *t);

#endif
