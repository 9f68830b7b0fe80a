/* findings.h - what the doctor found, one line each, for people and programs. One thread. */
#ifndef LANYARD_AGENT_FINDINGS_H
#define LANYARD_AGENT_FINDINGS_H

#include <stdbool.h>
#include <stdio.h>

#include "common/base/attr.h"

#define FINDINGS_MAX 96
#define FINDING_TEXT_MAX 400

enum finding_result { FINDING_PASS, FINDING_WARN, FINDING_FAIL };

struct finding {
    enum finding_result result;
    char check[96]; /* what was looked at */
    char text[FINDING_TEXT_MAX];
};

struct findings {
    size_t n;
    struct finding list[FINDINGS_MAX];
};

/* Adds one; past FINDINGS_MAX it is left out. */
void findings_add(struct findings *f, enum finding_result result, const char *check,
                  const char *format, ...) PRINTF_LIKE(4, 5);

bool findings_are_good(const struct findings *f);

void findings_print(const struct findings *f, bool json, FILE *out);

#endif
