/* Any answer gives a kind that fits the call, and sentences fit for a log. The first byte is the
 * call, two more the status; then the content type up to a line end, and the body. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t cap)
{
    size_t len = strnlen(text, cap);
    if (len == cap)
        abort();
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e)
            abort();
    }
}

static void check_answer(const struct answer *a, enum answer_call call, int status)
{
    check_text(a->id, sizeof a->id);
    check_text(a->info.text, sizeof a->info.text);
    if (a->kind == ANSWER_ISSUED && (status != 200 || a->chain.len == 0 || call == ANSWER_ENROLL))
        abort();
    if (a->kind == ANSWER_OK && status / 100 != 2)
        abort();
    if (a->report.len > 0 && (a->kind != ANSWER_OK || call != ANSWER_REPORT))
        abort();
    check_text(a->code, sizeof a->code);
    if (a->code[0] != 0 && (call != ANSWER_PAIRING || strlen(a->code) != ANSWER_CODE_LEN ||
                            a->expires_in_s < 1 || a->expires_in_s > 3600))
        abort();
    if (a->kind == ANSWER_WAITING && (call != ANSWER_POLL || a->retry_in_s > 86400))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    char type[128];
    enum answer_call call = (enum answer_call)(data[0] % ANSWER_CALL_N);
    int status = 100 + (data[1] * 256 + data[2]) % 500;
    const uint8_t *rest = data + 3, *end = memchr(rest, '\n', size - 3);
    if (end == NULL || (size_t)(end - rest) >= sizeof type)
        return 0;
    memcpy(type, rest, (size_t)(end - rest));
    type[end - rest] = 0;
    struct span body = { end + 1, size - 3 - (size_t)(end - rest) - 1 };
    struct answer a;
    answer_parse(&a, call, status, type, body);
    check_answer(&a, call, status);
    return 0;
}
