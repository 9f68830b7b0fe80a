/* addr.h - an IP address and port in the form people write: "192.0.2.1:53", "[2001:db8::1]:53".
 * Pure; any thread. */
#ifndef LANYARD_NET_ADDR_H
#define LANYARD_NET_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define ADDR_TEXT_MAX 64 /* bytes that addr_format() never exceeds, NUL included */

struct addr {
    struct sockaddr_storage ss;
    socklen_t len;
};

/* Parses numeric "IPV4:PORT" or "[IPV6]:PORT", port 0..65535. No names are looked up.
 * Errors: ERR_INVALID with a sentence that shows the right form. */
NODISCARD enum err addr_parse(struct addr *out, const char *text, struct err_info *info);

void addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]);

/* The 4 or 16 bytes of the IP address in `sa`; empty for another family. */
static inline struct span addr_ip(const struct sockaddr *sa)
{
    const void *in = sa;
    if (sa->sa_family == AF_INET)
        return (struct span){ (const uint8_t *)&((const struct sockaddr_in *)in)->sin_addr, 4 };
    if (sa->sa_family == AF_INET6)
        return (struct span){ (const uint8_t *)&((const struct sockaddr_in6 *)in)->sin6_addr, 16 };
    return (struct span){ NULL, 0 };
}

#endif
