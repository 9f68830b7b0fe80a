/* clienthello.h - the name that a TLS client asks for, from the first bytes it sends, whichever way
 * they were cut into segments and records. Reads only what comes before the name; decides nothing
 * about the rest of the hello, which the device reads. Pure; no allocation; any thread.
 * [RFC 8446 s4.1.2 and s5.1, RFC 6066 s3] */
#ifndef LANYARD_PROVISIOND_RELAY_CLIENTHELLO_H
#define LANYARD_PROVISIOND_RELAY_CLIENTHELLO_H

#include <stddef.h>

#include "common/base/span.h"

#define CLIENTHELLO_MAX                                                                            \
    (16 * 1024)                  /* bytes with their record headers; a name must come in these     \
                                  */
#define CLIENTHELLO_NAME_MAX 254 /* characters with the NUL */

enum clienthello_result {
    CLIENTHELLO_NAME,    /* there is a name */
    CLIENTHELLO_MORE,    /* not yet: at least `need` bytes in all */
    CLIENTHELLO_NO_NAME, /* a whole hello without one */
    CLIENTHELLO_INVALID, /* not a TLS client's hello */
    CLIENTHELLO_LIMIT,   /* nothing decided by CLIENTHELLO_MAX bytes */
};

struct clienthello {
    char name[CLIENTHELLO_NAME_MAX]; /* lower case, no final dot; with CLIENTHELLO_NAME */
    size_t need;                     /* with CLIENTHELLO_MORE: more than was there, and at most
                                        CLIENTHELLO_MAX */
};

/* Reads all the bytes there are so far. */
enum clienthello_result clienthello_read(struct clienthello *out, struct span bytes);

#endif
