/* What a person reads in every state: where the device stands, what comes next and when, and what
 * to do about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/status.h"
#include "common/base/attr.h"

#define NOW INT64_C(1800000000) /* 2027-01-15T08:00:00Z */
#define HOUR 3600
#define DAY 86400
#define WANTED_MAX 4

struct row {
    const char *why;
    enum lifecycle_state state;
    bool stopped;
    int64_t next_in_s; /* 0: under way */
    const char *detail, *error, *storage;
    int64_t cert_from, cert_to; /* 0: no certificate */
    int64_t now;                /* 0: NOW */
    int64_t clock;              /* what the clock says; 0: now */
    const char *wanted[WANTED_MAX], *not_wanted;
};

#define GOOD .cert_from = NOW - 60 * DAY, .cert_to = NOW + 30 * DAY

static const struct row ROWS[] = {
    { "never started", LIFECYCLE_ILLEGAL, .stopped = true,
      .wanted = { "The agent is not running. This", "state        never started",
                  "next         start the agent\n", "certificate  none yet" } },
    { "enrolling now", LIFECYCLE_ENROL,
      .wanted = { "state        introducing this device", "next         enrol: under way" },
      .not_wanted = "not running" },
    { "the service is away", LIFECYCLE_ENROL, .next_in_s = 300,
      .error = "service: connection refused",
      .wanted = { "next         enrol at 2027-01-15T08:05:00Z", "last error   2027-01-15T07:59:00Z",
                  "             service: connection refused" } },
    { "suspended", LIFECYCLE_SUBMIT, .next_in_s = DAY,
      .error = "the service says suspended (HTTP 403); ask the operator", GOOD,
      .wanted = { "next         hand the request in at 2027-01-16T08:00:00Z",
                  "suspended (HTTP 403); ask the operator", "  until      2027-02-14T08:00:00Z" } },
    { "asked for a new key", LIFECYCLE_KEY, .next_in_s = 60,
      .error = "the service says new-key-needed (HTTP 409)", GOOD,
      .wanted = { "state        making a key and",
                  "next         make a key at 2027-01-15T08:01:00Z", "new-key-needed" } },
    { "handing in", LIFECYCLE_SUBMIT,
      .wanted = { "state        handing in", "next         hand the request in: under way" } },
    { "waiting, with what the service says", LIFECYCLE_POLL, .next_in_s = 5,
      .detail = "validating: 2 of 3 name servers agree",
      .wanted = { "state        waiting for the certificate",
                  "             validating: 2 of 3 name servers agree",
                  "next         ask for the certificate at 2027-01-15T08:00:05Z" } },
    { "putting in place", LIFECYCLE_INSTALL,
      .wanted = { "state        putting the certificate in place", ": under way" } },
    { "serving", LIFECYCLE_SERVE, .next_in_s = 10 * DAY, GOOD,
      .wanted = { "state        the certificate is in place",
                  "next         renew the certificate at 2027-01-25T08:00:00Z",
                  "  until      2027-02-14T08:00:00Z" },
      .not_wanted = "WARNING" },
    { "serving, stopped", LIFECYCLE_SERVE, .stopped = true, .next_in_s = 10 * DAY, GOOD,
      .wanted = { "not running. This is what is on disk", "renew the certificate at 2027-01-25" },
      .not_wanted = "cannot be asked" },
    { "forgotten", LIFECYCLE_GONE,
      .wanted = { "state        forgotten", "next         nothing\n" } },
    { "the disk is full", LIFECYCLE_KEY, .next_in_s = 900,
      .error = "cannot write privkey.pem: No space left on device",
      .storage = "/state: the disk is full: make room", GOOD,
      .wanted = { "next         make a key at 2027-01-15T08:15:00Z", "No space left on device",
                  "WARNING      /state: the disk is full: make room" } },
    { "a disk on which no socket can be made", LIFECYCLE_SERVE, .stopped = true, .next_in_s = DAY,
      .storage = "/state is on a read-only file system", GOOD,
      .wanted = { "The agent is not running, or cannot be asked.",
                  "WARNING      /state is on a" } },
    { "the clock is at 1970", LIFECYCLE_ENROL, .next_in_s = 60, .now = 1000,
      .wanted = { "WARNING      the clock is behind (it says 1970-01-01T00:16:40Z): set it, or "
                  "start",
                  "next         enrol at 1970-01-01T00:17:40Z" } },
    { "the clock is before the certificate's start", LIFECYCLE_SERVE, .next_in_s = DAY,
      .cert_from = NOW + 2 * DAY, .cert_to = NOW + 92 * DAY,
      .wanted = { "WARNING      the clock is behind (it says 2027-01-15T08:00:00Z)" } },
    { "expired, or the clock is ahead", LIFECYCLE_SUBMIT, .next_in_s = HOUR,
      .error = "service: certificate has expired", .cert_from = NOW - 92 * DAY,
      .cert_to = NOW - DAY,
      .wanted = { "WARNING      the certificate has expired, if the clock is right (it says "
                  "2027-01-15",
                  "  EXPIRED    2027-01-14T08:00:00Z", "at 2027-01-15T09:00:00Z" } },
    { "the clock is ten years ahead, and the service was heard", LIFECYCLE_SERVE, .next_in_s = DAY,
      GOOD, .clock = NOW + 3650 * DAY,
      .wanted = { "WARNING      the clock is wrong (it says 2037-01-12T08:00:00Z, the service's "
                  "2027-01-15T08:00:00Z): set it",
                  "  until      2027-02-14T08:00:00Z" },
      .not_wanted = "EXPIRED" },
    { "a clock that lost its time, and the service was heard", LIFECYCLE_SERVE, .next_in_s = DAY,
      GOOD, .clock = 1000, .wanted = { "the clock is wrong (it says 1970-01-01T00:16:40Z" },
      .not_wanted = "behind" },
    { "expired this second", LIFECYCLE_SERVE, .next_in_s = HOUR, .cert_from = NOW - 92 * DAY,
      .cert_to = NOW, .wanted = { "EXPIRED" } },
};

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

/* The caller's. */
static char *render(const struct row *r)
{
    static char server[] = "https://service.example", zone[] = "direct.example", dir[] = "/state";
    struct config config = { .server = server, .zone = zone, .state_dir = dir };
    int64_t now = r->now != 0 ? r->now : NOW;
    struct journal j = { .state = r->state, .error_at = now - 60 };
    struct certset set = { .generation = 3,
                           .not_before_s = r->cert_from,
                           .not_after_s = r->cert_to };
    (void)snprintf(j.error, sizeof j.error, "%s", or_empty(r->error));
    struct status s = {
        .config = &config,
        .journal = &j,
        .certificate = r->cert_to != 0 ? &set : NULL,
        .is_running = !r->stopped,
        .clock_s = r->clock != 0 ? r->clock : now,
        .detail = or_empty(r->detail),
        .storage = or_empty(r->storage),
        .next_at = r->next_in_s != 0 ? now + r->next_in_s : 0,
    };
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    json_t *root = status_to_json(&s, now);
    assert_non_null(out);
    assert_non_null(root);
    status_print(root, out);
    json_decref(root);
    (void)fclose(out);
    return text;
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        const struct row *r = &ROWS[i];
        char *text = render(r);
        for (size_t k = 0; k < WANTED_MAX && r->wanted[k] != NULL; k++) {
            if (strstr(text, r->wanted[k]) == NULL)
                fail_msg("%s: \"%s\" is not in\n%s", r->why, r->wanted[k], text);
        }
        if (r->not_wanted != NULL && strstr(text, r->not_wanted) != NULL)
            fail_msg("%s: \"%s\" is in\n%s", r->why, r->not_wanted, text);
        free(text);
    }
}

static void test_every_state_has_a_row(void **state)
{
    (void)state;
    for (int s = 0; s < LIFECYCLE_STATE_N; s++) {
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(ROWS); i++)
            found |= (int)ROWS[i].state == s;
        if (!found)
            fail_msg("no row for the state %s", lifecycle_name((enum lifecycle_state)s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_every_state_has_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
