/* err.h - the one error code of the tree: what to do next, not what happened.
 * What happened, for a person, is a sentence in struct err_info. Pure; any thread. */
#ifndef LANYARD_BASE_ERR_H
#define LANYARD_BASE_ERR_H

#include "common/base/attr.h"

enum err {
    ERR_OK = 0,
    ERR_AGAIN,       /* not ready: come back when told or when due */
    ERR_NOMEM,       /* allocation failed: fail this operation only */
    ERR_INVALID,     /* the input is malformed: never worth a retry */
    ERR_RANGE,       /* well-formed, but outside what is accepted */
    ERR_LIMIT,       /* too big or too many: the peer must send less */
    ERR_NOTFOUND,    /* no such thing */
    ERR_EXISTS,      /* there already, or taken by somebody else */
    ERR_DENIED,      /* not allowed to this caller */
    ERR_ILLEGAL,     /* illegal in the present state */
    ERR_IO,          /* the operating system refused: disk, socket */
    ERR_TIMEOUT,     /* the deadline passed */
    ERR_UNAVAILABLE, /* the other side is away: retry with back-off */
    ERR_REMOTE,      /* the other side answered with an error of its own */
    ERR_CRYPTO,      /* a key, signature or certificate does not hold */
    ERR_CONFIG,      /* the operator must change the configuration */
    ERR_N
};

/* The sentence for a person that goes with an error. Zero it, or let err_set() fill it. */
struct err_info {
    char text[480];
};

/* Short lower-case name of `e` for logs, such as "timeout". Never NULL. */
const char *err_name(enum err e);

/* Writes a printf-style sentence into `info` (cut to fit; NULL allowed) and returns `e`, so that a
 * failing function can end with `return err_set(info, ERR_IO, "cannot open %s: %s", ...)`. */
enum err err_set(struct err_info *info, enum err e, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts a printf-style text in front of the sentence already in `info`, and returns `e`. */
enum err err_prefix(struct err_info *info, enum err e, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The enum err for an errno value: ENOENT is ERR_NOTFOUND, EEXIST ERR_EXISTS, EACCES and EPERM
 * ERR_DENIED, ENOMEM ERR_NOMEM, everything else ERR_IO. */
enum err err_from_errno(int errnum);

#endif
