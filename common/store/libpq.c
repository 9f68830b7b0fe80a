#include "common/store/libpq.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME "libpq.so.5"

static const struct {
    const char *name;
    size_t offset;
} FUNCTIONS[] = {
    { "PQclear", offsetof(struct libpq, clear) },
    { "PQconnectdbParams", offsetof(struct libpq, connectdbParams) },
    { "PQconninfoFree", offsetof(struct libpq, conninfoFree) },
    { "PQconninfoParse", offsetof(struct libpq, conninfoParse) },
    { "PQconsumeInput", offsetof(struct libpq, consumeInput) },
    { "PQerrorMessage", offsetof(struct libpq, errorMessage) },
    { "PQfinish", offsetof(struct libpq, finish) },
    { "PQgetResult", offsetof(struct libpq, getResult) },
    { "PQgetvalue", offsetof(struct libpq, getvalue) },
    { "PQisBusy", offsetof(struct libpq, isBusy) },
    { "PQntuples", offsetof(struct libpq, ntuples) },
    { "PQresultErrorField", offsetof(struct libpq, resultErrorField) },
    { "PQresultStatus", offsetof(struct libpq, resultStatus) },
    { "PQsendQueryParams", offsetof(struct libpq, sendQueryParams) },
    { "PQsocket", offsetof(struct libpq, socket) },
    { "PQstatus", offsetof(struct libpq, status) },
};
_Static_assert(ARRAY_LEN(FUNCTIONS) * sizeof(void *) == sizeof(struct libpq), "all of them");

/* Written once, by load(); a library is the process', not an object's. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct libpq functions;
static char missing[256]; /* why it cannot be used */

static void load(void)
{
    void *library = dlopen(FILE_NAME, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library != NULL && i < ARRAY_LEN(FUNCTIONS); i++) {
        void *function = dlsym(library, FUNCTIONS[i].name);
        if (function == NULL)
            library = NULL;
        memcpy((char *)&functions + FUNCTIONS[i].offset, &function, sizeof function);
    }
    if (library == NULL) {
        const char *why = dlerror();
        (void)snprintf(missing, sizeof missing, "%s", why != NULL ? why : FILE_NAME);
    }
}

enum err libpq_load(const struct libpq **out, struct err_info *info)
{
    (void)pthread_once(&once, load);
    if (missing[0] != 0)
        return err_set(info, ERR_CONFIG,
                       "a postgresql:// URL needs PostgreSQL's client library (Debian: libpq5): %s",
                       missing);
    *out = &functions;
    return ERR_OK;
}
