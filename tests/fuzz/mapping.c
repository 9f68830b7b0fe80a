/* mapping_parse() and mapping_is_news(): a mapping that is taken can be used as it is, and a
 * sentence can be shown on a terminal. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/mapping.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mapping m = { .port = 0 };
    struct err_info info = { "" };
    struct span text = { data, size };
    enum err e = mapping_parse(&m, text, &info);
    if (e == ERR_OK &&
        (m.port == 0 || m.address.family != 4 || m.protocol >= MAPPING_PROTOCOL_N ||
         mapping_renew_in_s(&m) < 30 || mapping_renew_in_s(&m) > 900 ||
         (mapping_judge(&m, NULL) == MAPPING_OPEN && ip_classify(&m.address) != IP_PUBLIC)))
        abort();
    if (e != ERR_OK && m.port != 0)
        abort();
    for (const char *p = info.text; *p != 0; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            abort();
    }
    if (mapping_is_news(text) && size < 12)
        abort();
    return 0;
}
