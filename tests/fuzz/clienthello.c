/* Any bytes have one verdict, which more bytes do not change; until then more are asked for, never
 * beyond the limit, and a name is one that servername_read() can be given. */
#include <stdlib.h>
#include <string.h>

#include "provisiond/relay/clienthello.h"
#include "provisiond/relay/servername.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char zone_name[] = "direct.example";
    static char *const ZONES[] = { zone_name };
    struct clienthello all, part;
    enum clienthello_result want = clienthello_read(&all, (struct span){ data, size });
    size_t step = size > 512 ? size / 64 : 1, n = 0, zone;
    struct devid id;
    while (n < size) {
        uint8_t *copy = malloc(n + 1); /* a read past the end is seen */
        if (copy == NULL)
            return 0;
        memcpy(copy, data, n);
        enum clienthello_result r = clienthello_read(&part, (struct span){ copy, n });
        free(copy);
        if (r == CLIENTHELLO_MORE) {
            if (part.need <= n || part.need > CLIENTHELLO_MAX)
                abort();
        } else if (r != want || (r == CLIENTHELLO_NAME && strcmp(part.name, all.name) != 0)) {
            abort();
        }
        n += step;
    }
    if (want == CLIENTHELLO_NAME &&
        (all.name[0] == 0 || strlen(all.name) >= CLIENTHELLO_NAME_MAX ||
         strspn(all.name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != strlen(all.name)))
        abort();
    if (want == CLIENTHELLO_NAME && servername_read(&id, &zone, all.name, ZONES, 1) == ERR_OK &&
        !devid_is_valid(span_str(id.text)))
        abort();
    return 0;
}
