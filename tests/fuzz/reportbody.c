/* Any bytes: a report is refused with a sentence, or is written as JSON that is read and written as
 * itself; no connection that it keeps is of an address without a name. */
#include <stdlib.h>
#include <string.h>

#include "provisiond/core/reportbody.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reportbody b, again;
    struct err_info info = { "" };
    if (reportbody_parse(&b, (struct span){ data, size }, &info) != ERR_OK) {
        if (info.text[0] == 0)
            abort();
        return 0;
    }
    for (size_t i = 0; i < b.n_connections; i++) {
        enum ip_class class = ip_classify(&b.connections[i].ip);
        if (class != IP_PRIVATE && class != IP_PUBLIC)
            abort();
    }
    char *first = reportbody_write(&b);
    if (first == NULL || reportbody_parse(&again, span_str(first), NULL) != ERR_OK)
        abort();
    char *second = reportbody_write(&again);
    if (second == NULL || strcmp(first, second) != 0)
        abort();
    free(first);
    free(second);
    return 0;
}
