/* Any bytes are refused, or name a relay that can be connected to and a URL below our own name. */
#include <stdlib.h>
#include <string.h>

#include "agent/core/relaygrant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char ID[] = "abcdefghijklmnopqrstuvwxyz234567";
    struct relaygrant g;
    if (relaygrant_parse(&g, (struct span){ data, size }, ID, "direct.example") != ERR_OK)
        return 0;
    if (g.data_port == 0 || strchr(g.control, ':') == NULL || strpbrk(g.control, "/@?# ") != NULL ||
        !devid_is_valid(span_str(g.id.text)) || strncmp(g.url, "https://", 8) != 0 ||
        strcasestr(g.url, ".abcdefghijklmnopqrstuvwxyz234567.direct.example") == NULL ||
        strpbrk(g.ticket, "\r\n") != NULL)
        abort();
    return 0;
}
