/* Contract of httpmsg: whatever the bytes and however they are cut into pieces, the verdict, the
 * request and the place where it ends are the same; what is accepted keeps the promises of
 * httpmsg.h; what is refused has a 4xx or 5xx. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/net/httpmsg.h"

#define HEAD_MAX 2048
#define BODY_MAX 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok)
        abort();
}

/* Feeds pieces of `step` bytes; *end receives where the reader stopped. */
static enum httpmsg_state feed(struct httpmsg *m, struct span in, size_t step, size_t *end)
{
    enum httpmsg_state s = HTTPMSG_MORE;
    *end = 0;
    while (s == HTTPMSG_MORE && *end < in.len) {
        size_t left = in.len - *end, used;
        /* a copy of its own, so that a read past the piece is seen */
        size_t n = left < step ? left : step;
        uint8_t *piece = malloc(n);
        must(piece != NULL);
        memcpy(piece, in.p + *end, n);
        s = httpmsg_feed(m, (struct span){ piece, n }, &used);
        must(used <= n && (s != HTTPMSG_MORE || used == n));
        free(piece);
        *end += used;
    }
    return s;
}

static void check_request(const struct httpmsg *m)
{
    static const char *const METHODS[] = { "GET",    "HEAD",    "POST", "PUT",
                                           "DELETE", "OPTIONS", "PATCH" };
    size_t known = 0;
    for (size_t i = 0; i < ARRAY_LEN(METHODS); i++)
        known += strcmp(httpmsg_method(m), METHODS[i]) == 0;
    must(known == 1);
    const char *path = httpmsg_path(m);
    must(path[0] == '/' && strlen(path) + strlen(httpmsg_query(m)) <= HTTPMSG_TARGET_MAX);
    must(strpbrk(path, "%?#\\ ") == NULL && strstr(path, "//") == NULL &&
         strstr(path, "/../") == NULL && strstr(path, "/./") == NULL);
    must(httpmsg_body(m).len <= BODY_MAX);
    must(httpmsg_header(m, "content-length") == NULL ||
         httpmsg_header(m, "transfer-encoding") == NULL);
    const char *host = httpmsg_header(m, "host");
    must(host == NULL || strpbrk(host, " \t,/@") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = { data, size };
    struct httpmsg *whole, *pieces;
    size_t end_whole, end_pieces;
    if (size == 0)
        return 0;
    if (httpmsg_new(&whole, HEAD_MAX, BODY_MAX) != ERR_OK ||
        httpmsg_new(&pieces, HEAD_MAX, BODY_MAX) != ERR_OK)
        abort();
    enum httpmsg_state s = feed(whole, in, size, &end_whole);
    must(feed(pieces, in, 1 + data[0] % 7, &end_pieces) == s);
    if (s == HTTPMSG_DONE) {
        must(end_whole == end_pieces);
        check_request(whole);
        struct span a = httpmsg_body(whole), b = httpmsg_body(pieces);
        must(span_equal(a, b) && strcmp(httpmsg_path(whole), httpmsg_path(pieces)) == 0 &&
             strcmp(httpmsg_query(whole), httpmsg_query(pieces)) == 0);
    }
    if (s == HTTPMSG_REFUSED) {
        must(httpmsg_status(whole) >= 400 && httpmsg_status(whole) <= 599);
        must(httpmsg_status(whole) == httpmsg_status(pieces));
        must(httpmsg_why(whole) != NULL);
    }
    httpmsg_reset(whole); /* the next request is not told from the first one */
    must(!httpmsg_is_started(whole));
    must(feed(whole, in, size, &end_pieces) == s && (s != HTTPMSG_DONE || end_pieces == end_whole));
    httpmsg_free(whole);
    httpmsg_free(pieces);
    return 0;
}
