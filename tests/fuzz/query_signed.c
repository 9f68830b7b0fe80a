/* The contract of the answer path in a signed zone. Beside what holds for every reply,
 *   - whatever a client with DO gets that is no error verifies, as ldns sees it, now, a week from
 *     now and by a clock that is a day behind: every set in the answer and authority sections but
 *     the NS records of a referral; and a denial has its NSEC record;
 *   - a client without DO gets no signature that it did not ask for by type, nor a denial;
 *   - the same request gives the same reply again, also over itself, and costs no further
 * signature;
 *   - for a client over its limit no signature is made.
 * The store has as many challenge values as the request's last byte says. */
#include <stdlib.h>
#include <string.h>

#include "dnssigned.h"
#include "replycheck.h"

#define NOW_S (SIGN_CLOCK_MIN + 1700000)
#define DAY_S 86400
#define UDP_MAX 1232
#define KEPT 1024
static const uint8_t CLIENT_IP[4] = { 192, 0, 2, 1 }; /* exempt from limits */
static const uint8_t LIMITED_IP[4] = { 198, 51, 100, 1 };
static const struct span VALUES[] = { { (const uint8_t *)"zz", 2 },
                                      { (const uint8_t *)"b", 1 },
                                      { (const uint8_t *)"aa", 2 } };

static struct dnssigned kit;
static struct query_ctx ctx;
static struct rrl *rrl;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_up(void)
{
    dnssigned_init(&kit, 2, NOW_S);
    kit.view->shield.cookies.n = 1;
    kit.view->shield.rrl = (struct rrl_policy){
        .per_second = 1,
        .slip = 2,
        .n_exempt = 1,
        .exempt = { { .ip = { 192, 0, 2 }, .ip_len = 4, .n_prefix = 24 } },
    };
    ctx.view = kit.view;
    ctx.now_s = NOW_S;
    if (signer_new(&ctx.signer, KEPT) != ERR_OK || rrl_new(&rrl, 1) != ERR_OK)
        abort();
    ctx.rrl = rrl;
    for (unsigned kind = 0; kind < RRL_N; kind++)
        (void)rrl_count(rrl, &kit.view->shield.rrl, (struct span){ LIMITED_IP, 4 },
                        (enum rrl_kind)kind, NOW_S);
}

static uint64_t n_made(void)
{
    return metric_get(&signer_counts(ctx.signer)->made);
}

static bool has_type(const ldns_rr_list *list, ldns_rr_type type)
{
    for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
        if (ldns_rr_get_type(ldns_rr_list_rr(list, i)) == type)
            return true;
    }
    return false;
}

static void check_signed(const ldns_pkt *p)
{
    static const int64_t AT_S[] = { NOW_S - DAY_S, NOW_S, NOW_S + 7 * DAY_S };
    const ldns_rr_list *answer = ldns_pkt_answer(p), *authority = ldns_pkt_authority(p);
    for (size_t i = 0; i < ARRAY_LEN(AT_S); i++) {
        if (dnssigned_verify(&kit, answer, AT_S[i]) < 0 ||
            dnssigned_verify(&kit, authority, AT_S[i]) < 0)
            abort();
    }
    if (ldns_pkt_aa(p) && !ldns_pkt_tc(p) && ldns_pkt_ancount(p) + ldns_pkt_nscount(p) == 0)
        abort();
    if (has_type(authority, LDNS_RR_TYPE_SOA) && !has_type(authority, LDNS_RR_TYPE_NSEC))
        abort();
}

static void check_unsigned(const ldns_pkt *p)
{
    unsigned type = ctx.question.type;
    if ((type != RR_RRSIG && has_type(ldns_pkt_answer(p), LDNS_RR_TYPE_RRSIG)) ||
        has_type(ldns_pkt_authority(p), LDNS_RR_TYPE_RRSIG))
        abort();
    if (type != RR_RRSIG && type != RR_NSEC && has_type(ldns_pkt_authority(p), LDNS_RR_TYPE_NSEC))
        abort();
}

static size_t answer(uint8_t *out, size_t cap, struct span request, const struct peer *peer)
{
    size_t n_values = request.len > 0 ? request.p[request.len - 1] % (ARRAY_LEN(VALUES) + 1) : 0;
    size_t n = query_answer(&ctx, out, cap, request, peer);
    if (!ctx.deferred)
        return n;
    return query_end_challenge(&ctx.challenge, VALUES, n_values, ctx.signer, out, cap);
}

static void check_limited(struct span request)
{
    static uint8_t out[DNS_EDNS_LEN];
    const struct peer peer = { .ip = { LIMITED_IP, 4 } };
    uint64_t before = n_made();
    size_t n = query_answer(&ctx, out, sizeof out, request, &peer);
    if (ctx.known)
        return;
    if (n_made() != before || (n > 0 && (out[7] != 0 || out[9] != 0)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[65535], again[65535];
    const struct span request = { data, size };
    if (ctx.view == NULL)
        set_up();
    if (size > sizeof again)
        return 0;
    for (unsigned stream = 0; stream < 2; stream++) {
        const struct peer peer = { .stream = stream != 0,
                                   .encrypted = stream != 0,
                                   .ip = { CLIENT_IP, 4 } };
        if (!peer.stream) /* first: by now nothing of this question is kept */
            check_limited(request);
        size_t n = answer(out, sizeof out, request, &peer);
        if (n == 0)
            continue;
        bool want = ctx.edns.present && ctx.edns.dnssec_ok;
        if (!peer.stream && n > (ctx.edns.present ? UDP_MAX : 512))
            abort();
        if (!peer.stream && !ctx.known && n > 10 * size)
            abort();
        ldns_pkt *p = replycheck_read(out, n, data, size);
        if (want && ldns_pkt_get_rcode(p) != LDNS_RCODE_REFUSED)
            check_signed(p);
        else
            check_unsigned(p);
        ldns_pkt_free(p);
        uint64_t before = n_made();
        memcpy(again, data, size);
        const struct span in_place = { again, size };
        if (answer(again, sizeof again, in_place, &peer) != n || memcmp(out, again, n) != 0 ||
            n_made() != before)
            abort();
    }
    return 0;
}
