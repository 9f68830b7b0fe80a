/* The contract of frames from the network: what is read lies within the frame, and turned round it
 * reads as a frame that goes back, whatever the length of the reply. */
#include <stdlib.h>
#include <string.h>

#include "dnsd/core/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame f, back;
    if (!frame_read(&f, (struct span){ data, size }))
        return 0;
    if (f.data > FRAME_HEAD_MAX || f.data + f.data_len > size || f.dest > f.data)
        abort();
    size_t n = size * 5 % 1233;
    uint8_t *bytes = malloc(f.data + (n > f.data_len ? n : f.data_len));
    if (bytes == NULL)
        abort();
    memcpy(bytes, data, f.data + f.data_len);
    memset(bytes + f.data, 0xa5, n);
    size_t len = frame_turn(&f, bytes, n);
    if (len != f.data + n)
        abort();
    size_t ip_len = f.dest - f.source;
    /* the asked address may be one that cannot ask itself: a group, say */
    if (frame_read(&back, (struct span){ bytes, len }) &&
        (back.data_len != n || back.dest_port != f.source_port ||
         memcmp(bytes + back.dest, data + f.source, ip_len) != 0 ||
         memcmp(bytes + back.source, data + f.dest, ip_len) != 0))
        abort();
    free(bytes);
    return 0;
}
