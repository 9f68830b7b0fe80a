/* proxyheader.h - who the client is, for the backend: the PROXY protocol, version 2
 * [haproxy's proxy-protocol.txt, s2.2]. Pure; any thread. */
#ifndef LANYARD_AGENT_PROXYHEADER_H
#define LANYARD_AGENT_PROXYHEADER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define PROXYHEADER_MAX 52 /* bytes: 16 and two IPv6 addresses with ports */

/* Writes the header for a TCP connection from `from` to `to`, and returns its length. Addresses
 * that are not both IPv4 or both IPv6 make a header that says "unknown" (LOCAL). */
size_t proxyheader_write(uint8_t out[PROXYHEADER_MAX], const struct sockaddr *from,
                         const struct sockaddr *to);

#endif
