/* biobuf.h - what OpenSSL wrote into memory, as a buffer of ours. Any thread. */
#ifndef LANYARD_PKI_BIOBUF_H
#define LANYARD_PKI_BIOBUF_H

#include <openssl/bio.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

/* Appends the content of a memory BIO, which stays the caller's. Errors: those of `out`. */
NODISCARD enum err biobuf_add(struct buf *out, BIO *bio);

#endif
