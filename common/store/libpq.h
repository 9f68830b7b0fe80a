/* libpq.h - PostgreSQL's client library, loaded when a postgresql:// URL is first seen: with what
 * it brings along it costs a program several MiB, and most name servers read SQLite. Once loaded it
 * stays. Only common/store includes this. */
#ifndef LANYARD_STORE_LIBPQ_H
#define LANYARD_STORE_LIBPQ_H

#include <libpq-fe.h>

#include "common/base/attr.h"
#include "common/base/err.h"

/* libpq's functions of the same names, without the "PQ". */
struct libpq {
    __typeof__(PQclear) *clear;
    __typeof__(PQconnectdbParams) *connectdbParams;
    __typeof__(PQconninfoFree) *conninfoFree;
    __typeof__(PQconninfoParse) *conninfoParse;
    __typeof__(PQconsumeInput) *consumeInput;
    __typeof__(PQerrorMessage) *errorMessage;
    __typeof__(PQfinish) *finish;
    __typeof__(PQgetResult) *getResult;
    __typeof__(PQgetvalue) *getvalue;
    __typeof__(PQisBusy) *isBusy;
    __typeof__(PQntuples) *ntuples;
    __typeof__(PQresultErrorField) *resultErrorField;
    __typeof__(PQresultStatus) *resultStatus;
    __typeof__(PQsendQueryParams) *sendQueryParams;
    __typeof__(PQsocket) *socket;
    __typeof__(PQstatus) *status;
};

/* Loads it where needed. *out lives for ever. Any thread. Errors: ERR_CONFIG when it is not
 * installed, or not complete; the next call does not look again. */
NODISCARD enum err libpq_load(const struct libpq **out, struct err_info *info);

#endif
