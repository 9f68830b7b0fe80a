/* Any bytes: what is taken from them are names of this device, each of its own public address, and
 * a time within its bounds. */
#include <stdlib.h>
#include <string.h>

#include "agent/core/reported.h"

#define ID "abcdefghijklmnopqrstuvwxyz234567"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reported r;
    if (reported_parse(&r, (struct span){ data, size }, ID, "direct.example") != ERR_OK)
        return 0;
    if (r.n_tags > REPORTED_TAGS_MAX || r.next_report_s < 300 || r.next_report_s > 86400)
        abort();
    for (size_t i = 0; i < r.n_tags; i++) {
        char text[IPLABEL_TEXT_MAX];
        const char *label = reported_label(&r, &r.tags[i].ip);
        iplabel_encode(&r.tags[i].ip, text);
        if (ip_classify(&r.tags[i].ip) != IP_PUBLIC || label == NULL ||
            strcmp(r.tags[i].label + TAG_PREFIX_LEN, text) != 0)
            abort();
    }
    return 0;
}
