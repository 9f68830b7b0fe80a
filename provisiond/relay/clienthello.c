#include "provisiond/relay/clienthello.h"

#include <stdbool.h>
#include <stdint.h>

#define RECORD_HEAD_LEN 5
#define RECORD_MAX (1u << 14) /* bytes of a plaintext record [RFC 8446 s5.1] */
#define RECORD_HANDSHAKE 22
#define CLIENT_HELLO 1
#define RANDOM_LEN 32
#define SESSION_ID_MAX 32
#define SERVER_NAME 0
#define HOST_NAME 0
#define HOST_NAME_MAX_LEN (CLIENTHELLO_NAME_MAX - 1)

/* The handshake's bytes as one stream, over the borders of records. The first failure sticks:
 * straight-line code asks `result` at the end. */
struct cursor {
    struct span in;
    size_t at;                      /* in `in` */
    size_t record_left;             /* bytes of this record from `at` on, some maybe not here yet */
    uint32_t left;                  /* bytes of the hello that were not read yet */
    enum clienthello_result result; /* CLIENTHELLO_NAME while all is well */
    size_t need;
};

static void fail(struct cursor *c, enum clienthello_result why)
{
    if (c->result == CLIENTHELLO_NAME)
        c->result = why;
}

static void want(struct cursor *c, size_t need)
{
    fail(c, c->in.len == CLIENTHELLO_MAX ? CLIENTHELLO_LIMIT : CLIENTHELLO_MORE);
    c->need = need < CLIENTHELLO_MAX ? need : CLIENTHELLO_MAX;
}

/* Makes record_left positive. An empty record of the handshake is an attack or a mistake. */
static bool enter_record(struct cursor *c)
{
    if (c->record_left > 0)
        return true;
    const uint8_t *p = c->in.p + c->at;
    size_t here = c->in.len - c->at;
    if ((here > 0 && p[0] != RECORD_HANDSHAKE) || (here > 1 && p[1] != 3)) {
        fail(c, CLIENTHELLO_INVALID);
        return false;
    }
    if (here < RECORD_HEAD_LEN) {
        want(c, c->at + RECORD_HEAD_LEN);
        return false;
    }
    c->record_left = (size_t)p[3] << 8 | p[4];
    c->at += RECORD_HEAD_LEN;
    if (c->record_left == 0 || c->record_left > RECORD_MAX) {
        fail(c, CLIENTHELLO_INVALID);
        return false;
    }
    return true;
}

/* Up to `n` bytes that lie together, without their count in `left`; 0 on failure. */
static size_t take_some(struct cursor *c, size_t n, const uint8_t **p)
{
    if (c->result != CLIENTHELLO_NAME || !enter_record(c))
        return 0;
    size_t here = c->in.len - c->at;
    if (here == 0) {
        want(c, c->at + c->record_left);
        return 0;
    }
    if (n > c->record_left)
        n = c->record_left;
    if (n > here)
        n = here;
    *p = c->in.p + c->at;
    c->at += n;
    c->record_left -= n;
    return n;
}

/* `n` bytes of the hello, into `out` unless NULL. */
static void take(struct cursor *c, size_t n, uint8_t *out)
{
    if (n > c->left)
        fail(c, CLIENTHELLO_INVALID);
    while (n > 0 && c->result == CLIENTHELLO_NAME) {
        const uint8_t *p = NULL;
        size_t got = take_some(c, n, &p);
        for (size_t i = 0; out != NULL && i < got; i++)
            *out++ = p[i];
        c->left -= (uint32_t)got;
        n -= got;
    }
}

/* An unsigned number of `n` bytes, at most 3; 0 on failure. */
static uint32_t number(struct cursor *c, size_t n)
{
    uint8_t b[3] = { 0 };
    uint32_t v = 0;
    take(c, n, b);
    for (size_t i = 0; i < n; i++)
        v = v << 8 | b[i];
    return c->result == CLIENTHELLO_NAME ? v : 0;
}

/* Letters, digits, '-' and '_' in labels, which is all that a name of ours can have. */
static bool set_name(struct clienthello *out, size_t len)
{
    size_t label = 0;
    for (size_t i = 0; i < len; i++) {
        char ch = out->name[i];
        if (ch >= 'A' && ch <= 'Z')
            out->name[i] = ch = (char)(ch | 0x20);
        if (ch == '.' && label == 0)
            return false;
        label = ch == '.' ? 0 : label + 1;
        if (ch != '.' && ch != '-' && ch != '_' && !(ch >= 'a' && ch <= 'z') &&
            !(ch >= '0' && ch <= '9'))
            return false;
    }
    out->name[len] = 0;
    return label > 0;
}

/* The list of names in a server_name extension of `len` bytes. */
static void read_names(struct cursor *c, uint32_t len, struct clienthello *out)
{
    uint32_t list = number(c, 2);
    if (c->result == CLIENTHELLO_NAME && (list + 2 != len || list < 3))
        fail(c, CLIENTHELLO_INVALID);
    uint32_t type = number(c, 1), n = number(c, 2);
    if (c->result == CLIENTHELLO_NAME &&
        (type != HOST_NAME || n + 3 > list || n == 0 || n > HOST_NAME_MAX_LEN))
        fail(c, CLIENTHELLO_INVALID);
    take(c, n, (uint8_t *)out->name);
    if (c->result == CLIENTHELLO_NAME && !set_name(out, n))
        fail(c, CLIENTHELLO_INVALID);
}

static void read_extensions(struct cursor *c, struct clienthello *out)
{
    uint32_t all = c->left > 0 ? number(c, 2) : 0;
    if (c->result == CLIENTHELLO_NAME && all != c->left)
        fail(c, CLIENTHELLO_INVALID);
    while (c->left > 0 && c->result == CLIENTHELLO_NAME) {
        uint32_t type = number(c, 2), len = number(c, 2);
        if (c->result == CLIENTHELLO_NAME && len > c->left) {
            fail(c, CLIENTHELLO_INVALID);
        } else if (c->result == CLIENTHELLO_NAME && type == SERVER_NAME) {
            read_names(c, len, out);
            return;
        }
        take(c, len, NULL);
    }
    fail(c, CLIENTHELLO_NO_NAME);
}

enum clienthello_result clienthello_read(struct clienthello *out, struct span bytes)
{
    struct cursor c = { .in = bytes, .left = 4, .result = CLIENTHELLO_NAME };
    if (c.in.len > CLIENTHELLO_MAX)
        c.in.len = CLIENTHELLO_MAX;
    uint32_t type = number(&c, 1);
    if (c.result == CLIENTHELLO_NAME && type != CLIENT_HELLO)
        fail(&c, CLIENTHELLO_INVALID);
    c.left = c.result == CLIENTHELLO_NAME ? 3 : 0;
    c.left = number(&c, 3);
    take(&c, 2 + RANDOM_LEN, NULL);
    uint32_t id = number(&c, 1);
    if (id > SESSION_ID_MAX)
        fail(&c, CLIENTHELLO_INVALID);
    take(&c, id, NULL);
    take(&c, number(&c, 2), NULL); /* cipher suites */
    take(&c, number(&c, 1), NULL); /* compression methods */
    if (c.result == CLIENTHELLO_NAME)
        read_extensions(&c, out);
    out->need = c.need;
    return c.result;
}
