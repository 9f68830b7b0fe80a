/* neighbour.h - whether a client is on a network of ours, or a stranger from the Internet. Pure;
 * any thread. */
#ifndef LANYARD_AGENT_CORE_NEIGHBOUR_H
#define LANYARD_AGENT_CORE_NEIGHBOUR_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/core/worth.h"
#include "common/base/span.h"
#include "common/dns/iplabel.h"

/* The address of 4 or 16 bytes, one mapped into IPv6 as IPv4; false for another length. */
bool neighbour_ip(struct ip *out, struct span bytes);

/* Whether no such address comes by the Internet: loopback, private, link-local, ULA. Not what a
 * carrier shares out among its customers (100.64.0.0/10), who are strangers to each other. */
bool neighbour_by_range(const struct ip *peer);

/* Whether `peer` is on the link of one of our `n` addresses: in its IPv4 subnet, or its IPv6 /64.
 */
bool neighbour_by_link(const struct ip *peer, const struct worth_address *own, size_t n);

#endif
