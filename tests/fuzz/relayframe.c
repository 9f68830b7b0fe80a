/* Any bytes are taken as whole frames until some are missing or too long, and what can be read as
 * a dial is written again as the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "common/net/relayframe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_dial(struct span body)
{
    struct relayframe_dial dial;
    uint8_t again[RELAYFRAME_MAX];
    if (relayframe_read_dial(&dial, body) != ERR_OK)
        return;
    size_t n = relayframe_write_dial(again, &dial) - RELAYFRAME_HEAD_LEN;
    if (n > body.len || memcmp(again + RELAYFRAME_HEAD_LEN, body.p, n) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = { data, size };
    struct relayframe f;
    uint16_t keepalive_s;
    uint32_t slot;
    uint8_t reason;
    while (relayframe_take(&f, &in) == ERR_OK) {
        if (f.body.len > RELAYFRAME_BODY_MAX || f.body.p + f.body.len != in.p)
            abort();
        check_dial(f.body);
        if (relayframe_read_welcome(&keepalive_s, f.body) == ERR_OK && f.body.len < 2)
            abort();
        if (relayframe_read_decline(&slot, f.body) == ERR_OK && f.body.len < 4)
            abort();
        if (relayframe_read_goodbye(&reason, f.body) == ERR_OK && f.body.len < 1)
            abort();
    }
    return 0;
}
