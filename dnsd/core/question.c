#include "dnsd/core/question.h"

#include "common/dns/wire.h"

enum dns_rcode question_read(struct question *out, struct span request)
{
    const uint8_t *p = request.p;
    out->flags = wire_load16(p + 2);
    out->end = DNS_HEADER_LEN;
    bool readable = false;
    unsigned n_questions = wire_load16(p + 4);
    if (n_questions == 1) {
        struct span rest = { p + DNS_HEADER_LEN, request.len - DNS_HEADER_LEN };
        readable = name_read(&out->name, rest) == ERR_OK && rest.len >= out->name.len + 4u;
    }
    if (readable) {
        const uint8_t *tail = p + DNS_HEADER_LEN + out->name.len;
        out->type = wire_load16(tail);
        out->class = wire_load16(tail + 2);
        out->end = DNS_HEADER_LEN + out->name.len + 4u;
    }
    if ((out->flags & DNS_FLAG_OPCODE) != DNS_OPCODE_QUERY << 11)
        return DNS_NOTIMP;
    out->n_additional = wire_load16(p + 10);
    out->none = n_questions == 0;
    if (!readable)
        return DNS_FORMERR;
    /* no packet holds 65536 records, so that a sum that wraps is refused for what it claims */
    unsigned n_skip = (unsigned)wire_load16(p + 6) + wire_load16(p + 8);
    if (n_skip > UINT16_MAX)
        return DNS_FORMERR;
    out->n_skip = (uint16_t)n_skip;
    return DNS_NOERROR;
}
