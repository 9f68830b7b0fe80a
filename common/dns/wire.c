#include "common/dns/wire.h"

#include "common/dns/name.h"

void wire_skip_name(struct wire_reader *r)
{
    size_t total = 0;
    for (;;) {
        const uint8_t *len = wire_get(r, 1);
        if (len == NULL)
            return;
        if ((*len & 0xc0) == 0xc0) {
            (void)wire_get(r, 1);
            return;
        }
        total += 1u + *len;
        if (*len > NAME_LABEL_MAX || total > NAME_WIRE_MAX) {
            r->bad = true;
            return;
        }
        if (*len == 0)
            return;
        (void)wire_get(r, *len);
    }
}
