/* lease_servers(): whatever is in the file, there are at most so many servers, each an address,
 * none twice; a lease that holds at some time held before, and none holds for ever. The first byte
 * chooses the form. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/lease.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t NOW = 1795268900;
    struct nameserver out[RESOLVCONF_MAX], before[RESOLVCONF_MAX];
    if (size == 0)
        return 0;
    enum lease_form form = (enum lease_form)(data[0] % 3);
    struct span text = { data + 1, size - 1 };
    size_t n = lease_servers(out, form, text, NOW);
    if (n > RESOLVCONF_MAX)
        abort();
    for (size_t i = 0; i < n; i++) {
        if ((out[i].ip.family != 4 && out[i].ip.family != 6) ||
            memchr(out[i].interface, 0, sizeof out[i].interface) == NULL ||
            nameserver_is_known(out, i, &out[i]))
            abort();
    }
    if (n > 0 && lease_servers(before, form, text, NOW - 1) != n)
        abort();
    if (form == LEASE_DHCLIENT && lease_servers(before, form, text, INT64_MAX) != 0)
        abort();
    return 0;
}
