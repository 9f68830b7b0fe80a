/* devicejson.h - a device as browsers see it: what it said of itself, with the names under which it
 * can be reached, in the order in which they should be tried. Pure; any thread. */
#ifndef LANYARD_PROVISIOND_DISCOVERY_DEVICEJSON_H
#define LANYARD_PROVISIOND_DISCOVERY_DEVICEJSON_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "provisiond/core/reportbody.h"
#include "provisiond/store/report.h"
#include "provisiond/tagkeys.h"

/* What is known of a device; all borrowed. */
struct devicejson {
    const char *id, *zone;
    struct tagkeys *tag_keys;        /* NULL: public addresses have no names here */
    int64_t seen_at;                 /* Unix seconds */
    const struct reportbody *report; /* NULL: it has not reported yet */
    size_t n_observed;               /* addresses that it connected from of late */
    const struct observed_row *observed;
    const struct ip *visitor; /* who asks */
    const char *relay_host;   /* its name at its relay, whose address and port follow; NULL: none */
    const struct ip *relay_ip;
    uint16_t relay_port;
    int64_t now_s;
};

/* Whether the visitor comes from the same IPv4 address, or the same IPv6 /64. */
bool devicejson_is_near(const struct devicejson *d);

/* A new reference; NULL when out of memory. */
json_t *devicejson_make(const struct devicejson *d);

#endif
