/* The contract of the answer path. Whatever a peer sends, there is no reply, or one that
 *   - fits the buffer and, over UDP, what the client takes, and without a valid cookie ten times
 *     what it sent;
 *   - has the id and the opcode of the request, and QR;
 *   - is no reply to a reply, nor to less than a header;
 *   - has a length that tells nothing where padding is wanted, under TLS;
 *   - has, to the byte, the sections that its counts promise, as a parser that is not ours reads it
 *     (ldns), and repeats the question as it was asked.
 * The same request gives the same reply again, also in the place of the request. A client that is
 * over its limit and has no valid cookie gets nothing, or no records and no more bytes than it
 * sent: 16 more if they are a cookie.
 */
#include <stdlib.h>
#include <string.h>

#include "dnsview.h"
#include "replycheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes that a reply over UDP may have at most. */
#define UDP_MAX 1232

/* 2023-11-14; a cookie of the corpus is of this time, of key 00..00, for this client. */
#define NOW_S 1700000000
static const uint8_t CLIENT_IP[4] = { 192, 0, 2, 1 };

static void set_up(struct query_ctx *ctx)
{
    struct view *v = dnsview_new();
    v->shield.cookies.n = 2;
    memset(v->shield.cookies.key[1], 1, sizeof v->shield.cookies.key[1]);
    strcpy(v->shield.identity.nsid, "fuzz1");
    strcpy(v->shield.identity.version, "Lanyard");
    strcpy(v->shield.identity.hostname, "host");
    v->shield.rrl = (struct rrl_policy){ .per_second = 1, .slip = 1 };
    ctx->view = v;
    ctx->now_s = NOW_S;
}

/* The reply to a client that has had its share of every kind. */
static void check_limited(struct query_ctx *ctx, struct span request, const struct peer *peer)
{
    static struct rrl *rrl;
    static uint8_t out[DNS_EDNS_LEN];
    if (rrl == NULL && rrl_new(&rrl, 1) != ERR_OK)
        abort();
    for (unsigned kind = 0; kind < RRL_N; kind++)
        (void)rrl_count(rrl, &ctx->view->shield.rrl, peer->ip, (enum rrl_kind)kind, NOW_S);
    ctx->rrl = rrl;
    size_t n = query_answer(ctx, out, sizeof out, request, peer);
    ctx->rrl = NULL;
    if (ctx->known || n == 0) {
        if (n == 0 && !ctx->known && ctx->deferred)
            abort();
        return;
    }
    bool cookie = (out[3] & 15) == (DNS_BADCOOKIE & 15);
    if (n > request.len + (cookie ? 16 : 0) || out[7] != 0 || out[9] != 0)
        abort();
    ldns_pkt_free(replycheck_read(out, n, request.p, request.len));
}

/* Once more, over the request: the same reply. */
static void check_in_place(struct query_ctx *ctx, struct span request, const struct peer *peer,
                           struct span reply)
{
    static uint8_t buf[65535];
    if (request.len > sizeof buf)
        return;
    memcpy(buf, request.p, request.len);
    size_t n = query_answer(ctx, buf, sizeof buf, (struct span){ buf, request.len }, peer);
    if (!ctx->deferred && (n != reply.len || memcmp(buf, reply.p, n) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct query_ctx ctx;
    static uint8_t out[65535];
    if (ctx.view == NULL)
        set_up(&ctx);
    for (unsigned way = 0; way < 3; way++) { /* UDP, TCP, TLS */
        const struct peer peer = { .stream = way > 0,
                                   .encrypted = way > 1,
                                   .ip = { CLIENT_IP, 4 } };
        const struct span request = { data, size };
        size_t n = query_answer(&ctx, out, sizeof out, request, &peer);
        if (ctx.deferred) {
            if (n != 0)
                abort();
            n = query_end_challenge(&ctx.challenge, NULL, 0, NULL, out, sizeof out);
            if (n == 0)
                abort();
        } else if ((n == 0) != (size < 12 || (data[2] & 0x80) != 0)) {
            abort();
        }
        if (n == 0)
            continue;
        if (!peer.stream && n > (ctx.edns.present ? UDP_MAX : 512))
            abort();
        if (!peer.stream && !ctx.known && n > 10 * size)
            abort();
        bool pads = ctx.edns.present && ctx.options.pads;
        if (pads && (!peer.encrypted || n % EDNS_PAD_BLOCK != 0))
            abort();
        ldns_pkt_free(replycheck_read(out, n, data, size));
        check_in_place(&ctx, request, &peer, (struct span){ out, n });
        if (!peer.stream)
            check_limited(&ctx, request, &peer);
    }
    return 0;
}
