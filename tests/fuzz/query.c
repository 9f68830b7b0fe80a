/* The contract of the answer path. Whatever a peer sends, there is no reply, or one that
 *   - fits the buffer and, over UDP, what the client takes;
 *   - has the id and the opcode of the request, and QR;
 *   - is no reply to a reply, nor to less than a header;
 *   - has, to the byte, the sections that its counts promise, as a parser that is not ours reads it
 *     (ldns), and repeats the question as it was asked.
 * The same request gives the same reply again. */
#include <stdlib.h>
#include <string.h>

#include "dnsview.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_question(const uint8_t *reply, size_t len, const uint8_t *data, size_t size)
{
    unsigned n = (unsigned)(reply[4] << 8 | reply[5]);
    if (n > 1)
        abort();
    if (n == 0)
        return;
    size_t at = 12;
    while (at < len && at < size && reply[at] != 0)
        at += 1u + reply[at];
    at += 5;
    if (at > len || at > size || memcmp(reply + 12, data + 12, at - 12) != 0)
        abort();
}

static void check_reply(const uint8_t *reply, size_t len, const uint8_t *data, size_t size)
{
    if (len < 12 || size < 12 || (data[2] & 0x80) != 0)
        abort();
    if (reply[0] != data[0] || reply[1] != data[1] || (reply[2] & 0x80) == 0 ||
        ((reply[2] ^ data[2]) & 0x79) != 0 || (reply[3] & 0xf0) != 0)
        abort();
    check_question(reply, len, data, size);
    ldns_pkt *p = NULL;
    if (ldns_wire2pkt(&p, reply, len) != LDNS_STATUS_OK)
        abort();
    /* an OPT record is among the additional count, but not among ldns' list */
    if (ldns_rr_list_rr_count(ldns_pkt_answer(p)) != ldns_pkt_ancount(p) ||
        ldns_rr_list_rr_count(ldns_pkt_authority(p)) != ldns_pkt_nscount(p))
        abort();
    if (ldns_pkt_tc(p) && (ldns_pkt_ancount(p) != 0 || ldns_pkt_nscount(p) != 0))
        abort();
    ldns_pkt_free(p);
}

/* Bytes that a reply over UDP may have at most. */
#define UDP_MAX 1232

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct query_ctx ctx;
    static uint8_t out[65535], again[65535];
    if (ctx.view == NULL)
        ctx.view = dnsview_new();
    for (unsigned stream = 0; stream < 2; stream++) {
        const struct peer peer = { .stream = stream != 0 };
        const struct span request = { data, size };
        size_t n = query_answer(&ctx, out, sizeof out, request, &peer);
        if (ctx.deferred) {
            if (n != 0)
                abort();
            n = query_end_challenge(&ctx.challenge, NULL, 0, out, sizeof out);
            if (n == 0)
                abort();
        } else if ((n == 0) != (size < 12 || (data[2] & 0x80) != 0)) {
            abort();
        }
        if (n == 0)
            continue;
        if (!peer.stream && n > (ctx.edns.present ? UDP_MAX : 512))
            abort();
        check_reply(out, n, data, size);
        size_t n_again = query_answer(&ctx, again, sizeof again, request, &peer);
        if (!ctx.deferred && (n_again != n || memcmp(out, again, n) != 0))
            abort();
    }
    return 0;
}
