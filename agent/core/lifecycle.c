#include "agent/core/lifecycle.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ENROL LIFECYCLE_ENROL
#define KEY LIFECYCLE_KEY
#define SUBMIT LIFECYCLE_SUBMIT
#define POLL LIFECYCLE_POLL
#define INSTALL LIFECYCLE_INSTALL
#define SERVE LIFECYCLE_SERVE
#define GONE LIFECYCLE_GONE

/* A chain that cannot be stored (disk full) is asked for again by handing the same CSR in: the
 * service answers with the same certificate, so nothing but the pending key has to be kept. */
static const uint8_t NEXT[LIFECYCLE_STATE_N][LIFECYCLE_EVENT_N] = {
    /* 0 == LIFECYCLE_ILLEGAL */
    /* clang-format off */
    /*             DUE     OK      ISSUED   UNKNOWN REKEY  NO_ORDER FAILED  RENEW   FORGOTTEN */
    [ENROL]    = { ENROL,  KEY,    0,       0,      0,     0,       ENROL,  ENROL,  GONE },
    [KEY]      = { KEY,    SUBMIT, 0,       0,      0,     0,       KEY,    KEY,    GONE },
    [SUBMIT]   = { SUBMIT, POLL,   INSTALL, ENROL,  KEY,   0,       SUBMIT, SUBMIT, GONE },
    [POLL]     = { POLL,   POLL,   INSTALL, ENROL,  KEY,   SUBMIT,  POLL,   POLL,   GONE },
    [INSTALL]  = { 0,      SERVE,  0,       0,      KEY,   0,       SUBMIT, 0,      0    },
    [SERVE]    = { KEY,    0,      0,       0,      0,     0,       0,      KEY,    GONE },
    [GONE]     = { 0 },
    /* clang-format on */
};

static const char *const NAMES[LIFECYCLE_STATE_N] = {
    [LIFECYCLE_ILLEGAL] = "none",
    [ENROL] = "enrol",
    [KEY] = "key",
    [SUBMIT] = "submit",
    [POLL] = "poll",
    [INSTALL] = "install",
    [SERVE] = "serve",
    [GONE] = "gone",
};

enum lifecycle_state lifecycle_next(enum lifecycle_state s, enum lifecycle_event ev)
{
    if (s >= LIFECYCLE_STATE_N || ev >= LIFECYCLE_EVENT_N)
        return LIFECYCLE_ILLEGAL;
    return (enum lifecycle_state)NEXT[s][ev];
}

bool lifecycle_is_final(enum lifecycle_state s)
{
    for (int ev = 0; ev < LIFECYCLE_EVENT_N; ev++) {
        if (lifecycle_next(s, (enum lifecycle_event)ev) != LIFECYCLE_ILLEGAL)
            return false;
    }
    return true;
}

enum lifecycle_state lifecycle_resume(const struct lifecycle_facts *f)
{
    switch (f->stored) {
    case ENROL:
        return ENROL;
    case KEY:
    case SUBMIT:
    case POLL:
    case INSTALL:
        if (f->has_pending)
            return f->pending_is_current ? SERVE : f->stored == POLL ? POLL : SUBMIT;
        return KEY;
    case SERVE:
        return f->has_current ? SERVE : KEY;
    default:
        return ENROL; /* idempotent at the service: costs one request and cannot be wrong */
    }
}

const char *lifecycle_name(enum lifecycle_state s)
{
    return s < LIFECYCLE_STATE_N ? NAMES[s] : NAMES[LIFECYCLE_ILLEGAL];
}

enum lifecycle_state lifecycle_from_name(const char *name)
{
    for (size_t s = LIFECYCLE_ENROL; s < LIFECYCLE_STATE_N; s++) {
        if (strcmp(name, NAMES[s]) == 0)
            return (enum lifecycle_state)s;
    }
    return LIFECYCLE_ILLEGAL;
}
