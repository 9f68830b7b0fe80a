/* Any bytes: a header is refused, or has exactly the length that its head says and names nobody, or
 * an address of a family that limits and names know. */
#include <stdlib.h>

#include "common/net/proxyproto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxyproto pp;
    size_t len;
    struct span in = { data, size };
    if (proxyproto_length(&len, in) == ERR_OK &&
        (len < PROXYPROTO_HEAD || len > PROXYPROTO_MAX || size < PROXYPROTO_HEAD))
        abort();
    if (proxyproto_parse(&pp, in) != ERR_OK)
        return 0;
    if (proxyproto_length(&len, in) != ERR_OK || len != size)
        abort();
    if (pp.has_peer && addr_ip((const struct sockaddr *)&pp.peer.ss).len == 0)
        abort();
    return 0;
}
