/* Any bytes are no answer, or one to the question that was asked: same id, same question, and what
 * it is said to hold is in it. The first byte chooses the type of the question, the rest is what
 * came from the network. The same bytes with another id are never an answer. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/lookup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint16_t TYPES[] = { RR_A, RR_AAAA, RR_TXT, RR_NS, RR_PTR };

static void check(const struct lookup_reply *r, const struct lookup *q, size_t size)
{
    size_t len = strnlen(r->text, sizeof r->text);
    if (len == sizeof r->text || r->n_ips > LOOKUP_IPS_MAX || r->n_ips > r->n_answers)
        abort();
    for (size_t i = 0; i < len; i++) {
        if (r->text[i] < 0x20 || r->text[i] > 0x7e)
            abort();
    }
    for (size_t i = 0; i < r->n_ips; i++) {
        if (r->ips[i].family != (q->type == RR_A ? 4 : 6))
            abort();
    }
    if (r->n_ips > 0 && q->type != RR_A && q->type != RR_AAAA)
        abort();
    if (r->n_answers * 11 > size || r->ede > 0xffff || r->ede < -1 || r->rcode > 0xfff)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct name zone;
    struct lookup q = { .id = 0x1234, .class = RR_CLASS_IN };
    struct lookup_reply r;
    uint8_t query[LOOKUP_QUERY_MAX];
    if (size < 1 || name_parse(&zone, "direct.example") != ERR_OK ||
        name_parse(&q.name, "10-0-0-5.abcdefghijklmnopqrstuvwxyz234567.direct.example") != ERR_OK)
        return 0;
    q.type = TYPES[data[0] % (sizeof TYPES / sizeof TYPES[0])];
    struct span msg = { data + 1, size - 1 };
    /* our own question is no answer */
    size_t len = lookup_write(&q, query);
    if (len > sizeof query || lookup_read(&r, &q, &zone, (struct span){ query, len }) == ERR_OK)
        abort();
    if (lookup_read(&r, &q, &zone, msg) != ERR_OK)
        return 0;
    check(&r, &q, size);
    q.id ^= 1;
    if (lookup_read(&r, &q, &zone, msg) == ERR_OK)
        abort();
    return 0;
}
