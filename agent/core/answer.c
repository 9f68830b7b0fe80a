#include "agent/core/answer.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/base/attr.h"

#define RETRY_IN_MAX_S 86400
#define CODE_LIFE_MAX_S 3600
#define TIME_MAX_S ((int64_t)253402300799) /* the year 9999 */
#define URN "urn:lanyard:problem:"

/* Problem types that lead somewhere else than to a later attempt. */
static const struct {
    const char *type;
    bool is_prefix;
    enum answer_kind kind;
} PROBLEMS[] = {
    { "not-enrolled", false, ANSWER_UNKNOWN }, { "no-certificate", false, ANSWER_NO_ORDER },
    { "new-csr-needed", false, ANSWER_REKEY }, { "new-key-needed", false, ANSWER_REKEY },
    { "csr-", true, ANSWER_REFUSED },
};

/* What a person can do about a refusal that the device cannot overcome alone. */
static const struct {
    const char *type, *cure;
} CURES[] = {
    { "suspended", "ask the operator of the service to let this device in again" },
    { "token-invalid", "put a token of the operator's into token_file" },
    { "unknown-zone", "correct `zone` in the configuration" },
    { "other-zone", "correct `zone` in the configuration, or say `forget --yes` first" },
};

/* Puts `text` into `out` with everything but printable ASCII replaced. */
static void set_printable(char *out, size_t cap, const char *text)
{
    (void)snprintf(out, cap, "%s", text);
    for (char *p = out; *p != 0; p++) {
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
    }
}

static const char *get_text(const json_t *obj, const char *key)
{
    const char *text = json_string_value(json_object_get(obj, key));
    return text != NULL ? text : "";
}

/* Whether the media type is `want`, whatever parameters follow. */
static bool is_type(const char *content_type, const char *want)
{
    if (content_type == NULL)
        return false;
    return span_is_nocase(
        (struct span){ (const uint8_t *)content_type, strcspn(content_type, "; \t") }, want);
}

static enum answer_kind problem_kind(const char *type)
{
    if (strncmp(type, URN, sizeof URN - 1) != 0)
        return ANSWER_FAILED;
    type += sizeof URN - 1;
    for (size_t i = 0; i < ARRAY_LEN(PROBLEMS); i++) {
        const char *want = PROBLEMS[i].type;
        if (PROBLEMS[i].is_prefix ? strncmp(type, want, strlen(want)) == 0
                                  : strcmp(type, want) == 0)
            return PROBLEMS[i].kind;
    }
    return ANSWER_FAILED;
}

static const char *problem_cure(const char *type)
{
    for (size_t i = 0; i < ARRAY_LEN(CURES); i++) {
        if (strcmp(type, CURES[i].type) == 0)
            return CURES[i].cure;
    }
    return "";
}

static void parse_problem(struct answer *out, int status, const json_t *problem)
{
    const char *type = get_text(problem, "type"), *detail = get_text(problem, "detail");
    char text[sizeof out->info.text];
    out->kind = problem_kind(type);
    if (strncmp(type, URN, sizeof URN - 1) == 0)
        type += sizeof URN - 1;
    const char *cure = problem_cure(type);
    (void)snprintf(text, sizeof text, "the service says %.60s (HTTP %d)%s%.300s%s%s",
                   type[0] != 0 ? type : "no", status, detail[0] != 0 ? ": " : "", detail,
                   cure[0] != 0 ? "; " : "", cure);
    set_printable(out->info.text, sizeof out->info.text, text);
}

static void parse_waiting(struct answer *out, const json_t *root)
{
    const json_t *retry = json_object_get(root, "retry_in");
    char text[sizeof out->info.text];
    out->kind = ANSWER_WAITING;
    if (json_is_number(retry)) {
        double s = json_number_value(retry);
        out->retry_in_s = s < 0 ? 0 : s > RETRY_IN_MAX_S ? RETRY_IN_MAX_S : (int64_t)s;
    }
    const char *state = get_text(root, "state"), *detail = get_text(root, "detail");
    (void)snprintf(text, sizeof text, "%.60s%s%s", state, detail[0] != 0 ? ": " : "", detail);
    set_printable(out->info.text, sizeof out->info.text, text);
}

/* False when a number is missing or none that a service would send. */
static bool parse_renewal(struct answer *out, const json_t *root)
{
    const json_t *at = json_object_get(root, "renew_at"), *now = json_object_get(root, "now"),
                 *check = json_object_get(root, "next_check_in");
    if (!json_is_integer(at) || !json_is_integer(now) || !json_is_integer(check) ||
        json_integer_value(at) < 0 || json_integer_value(at) > TIME_MAX_S ||
        json_integer_value(now) < 0 || json_integer_value(now) > TIME_MAX_S)
        return false;
    int64_t in_s = json_integer_value(at) - json_integer_value(now);
    int64_t check_s = json_integer_value(check);
    out->kind = ANSWER_OK;
    out->renew_in_s = in_s < 0 ? 0 : in_s;
    out->next_check_in_s = check_s < 1 ? 1 : check_s > RETRY_IN_MAX_S ? RETRY_IN_MAX_S : check_s;
    set_printable(out->serial, sizeof out->serial, get_text(root, "certificate"));
    set_printable(out->why, sizeof out->why, get_text(root, "why"));
    return true;
}

/* It goes onto the device's page, so only what is a code. */
static bool parse_pairing(struct answer *out, const json_t *root)
{
    const char *code = get_text(root, "code");
    const json_t *life = json_object_get(root, "expires_in");
    if (strlen(code) != ANSWER_CODE_LEN || code[4] != '-' ||
        strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567-") != ANSWER_CODE_LEN ||
        !json_is_integer(life) || json_integer_value(life) < 1 ||
        json_integer_value(life) > CODE_LIFE_MAX_S)
        return false;
    memcpy(out->code, code, sizeof out->code);
    out->expires_in_s = json_integer_value(life);
    out->kind = ANSWER_OK;
    return true;
}

static bool parse_report(struct answer *out, const json_t *root, struct span body)
{
    if (!json_is_object(root))
        return false;
    (void)parse_renewal(out, json_object_get(root, "renewal")); /* null before the first */
    out->kind = ANSWER_OK;
    out->report = body;
    return true;
}

static bool parse_enrolled(struct answer *out, int status, const json_t *root)
{
    if ((status != 200 && status != 201) || !json_is_string(json_object_get(root, "id")))
        return false;
    out->kind = ANSWER_OK;
    set_printable(out->id, sizeof out->id, get_text(root, "id"));
    return true;
}

/* The answers that are not problems. False when the answer is none of the API. */
static bool parse_success(struct answer *out, enum answer_call call, int status,
                          const char *content_type, struct span body, const json_t *root)
{
    if ((call == ANSWER_SUBMIT || call == ANSWER_POLL) && status == 200 &&
        is_type(content_type, "application/pem-certificate-chain") && body.len > 0) {
        out->kind = ANSWER_ISSUED;
        out->chain = body;
        return true;
    }
    if (call == ANSWER_POLL && status == 202 && json_is_object(root)) {
        parse_waiting(out, root);
        return true;
    }
    if (call == ANSWER_RENEWAL && status == 200)
        return parse_renewal(out, root);
    if (call == ANSWER_REPORT && status == 200)
        return parse_report(out, root, body);
    if ((call == ANSWER_SUBMIT && status == 202) ||
        (call == ANSWER_DELETE && (status == 204 || status == 200))) {
        out->kind = ANSWER_OK;
        return true;
    }
    return call == ANSWER_ENROLL && parse_enrolled(out, status, root);
}

void answer_parse(struct answer *out, enum answer_call call, int status, const char *content_type,
                  struct span body)
{
    *out = (struct answer){ .kind = ANSWER_FAILED, .retry_in_s = -1 };
    bool is_problem = is_type(content_type, "application/problem+json");
    json_t *root = NULL;
    if (body.len <= ANSWER_BODY_MAX && (is_problem || is_type(content_type, "application/json")))
        root = json_loadb((const char *)body.p, body.len, JSON_REJECT_DUPLICATES, NULL);
    if (is_problem && status >= 400 && json_is_object(root)) {
        parse_problem(out, status, root);
    } else if (call == ANSWER_PAIRING
                   ? status != 200 || !parse_pairing(out, root)
                   : !parse_success(out, call, status, content_type, body, root)) {
        char type[64];
        set_printable(type, sizeof type, content_type != NULL ? content_type : "nothing");
        (void)err_set(&out->info, ERR_REMOTE,
                      "HTTP %d with %s is no answer of a provisiond: is server right?", status,
                      type);
    }
    json_decref(root);
}
