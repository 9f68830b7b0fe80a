#include "common/pki/biobuf.h"

enum err biobuf_add(struct buf *out, BIO *bio)
{
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);
    if (n > 0)
        buf_add(out, p, (size_t)n);
    return buf_error(out);
}
