/* The limit: the least that a server on UDP can do here. One thread, batches of 32.
 *   echo echo PORT     sends each datagram back as a reply, cut or filled to 80 bytes
 *   echo answer PORT   reads the question and writes the right A record for a-b-c-d.<anything>
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 32
#define LEN_MAX 512
#define HEADER_LEN 12
#define ECHO_LEN 80
#define BUFFER_LEN (4 << 20)

static size_t reply_echo(uint8_t *out, const uint8_t *in, size_t len)
{
    if (len < HEADER_LEN)
        return 0;
    len = len < ECHO_LEN ? len : ECHO_LEN;
    memcpy(out, in, len);
    memset(out + len, 0, ECHO_LEN - len);
    out[2] |= 0x84; /* QR, AA */
    out[10] = out[11] = 0;
    return ECHO_LEN;
}

/* Four numbers joined by '-' into ip[4]. */
static bool read_ip(uint8_t ip[4], const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len;
    for (unsigned i = 0; i < 4; i++) {
        unsigned v = 0, digits = 0;
        for (; p < end && *p >= '0' && *p <= '9' && digits < 3; p++, digits++)
            v = v * 10 + *p - '0';
        if (digits == 0 || v > 255 || (i < 3 && (p == end || *p++ != '-')))
            return false;
        ip[i] = (uint8_t)v;
    }
    return p == end;
}

static size_t reply_answer(uint8_t *out, const uint8_t *in, size_t len)
{
    static const uint8_t RECORD[] = { 0xc0, HEADER_LEN, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4 };
    size_t pos = HEADER_LEN;
    if (len < HEADER_LEN + 5 || in[5] != 1)
        return 0;
    while (pos < len && in[pos] != 0)
        pos += 1u + in[pos];
    pos += 5; /* the root, type and class */
    if (pos > len || pos + sizeof RECORD + 4 > LEN_MAX)
        return 0;
    memcpy(out, in, pos);
    out[2] = (uint8_t)(0x84 | (in[2] & 1)); /* QR, AA, RD as it was */
    out[3] = 0;
    memset(out + 6, 0, 6);
    if (!read_ip(out + pos + sizeof RECORD, in + HEADER_LEN + 1, in[HEADER_LEN])) {
        out[3] = 3;
        return pos;
    }
    out[7] = 1;
    memcpy(out + pos, RECORD, sizeof RECORD);
    return pos + sizeof RECORD + 4;
}

static int open_socket(const char *address, unsigned port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), len = BUFFER_LEN;
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = inet_addr(address) };
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &len, sizeof len) != 0 ||
        bind(fd, (const struct sockaddr *)&a, sizeof a) != 0) {
        perror("echo");
        exit(1);
    }
    return fd;
}

static void serve(int fd, size_t (*reply)(uint8_t *, const uint8_t *, size_t))
{
    static uint8_t in[BATCH][LEN_MAX], out[BATCH][LEN_MAX];
    static struct sockaddr_in peers[BATCH];
    static struct iovec in_data[BATCH], out_data[BATCH];
    static struct mmsghdr requests[BATCH], replies[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        in_data[i] = (struct iovec){ in[i], LEN_MAX };
        requests[i].msg_hdr = (struct msghdr){ .msg_name = &peers[i],
                                               .msg_namelen = sizeof peers[i],
                                               .msg_iov = &in_data[i],
                                               .msg_iovlen = 1 };
    }
    for (;;) {
        int n = recvmmsg(fd, requests, BATCH, MSG_WAITFORONE, NULL);
        unsigned n_out = 0;
        for (int i = 0; i < n; i++) {
            size_t len = reply(out[i], in[i], requests[i].msg_len);
            if (len == 0)
                continue;
            out_data[i] = (struct iovec){ out[i], len };
            replies[n_out++].msg_hdr = (struct msghdr){ .msg_name = &peers[i],
                                                        .msg_namelen = sizeof peers[i],
                                                        .msg_iov = &out_data[i],
                                                        .msg_iovlen = 1 };
        }
        for (unsigned done = 0; done < n_out;) {
            int sent = sendmmsg(fd, replies + done, n_out - done, 0);
            done += sent > 0 ? (unsigned)sent : 1;
        }
    }
}

int main(int argc, char **argv)
{
    bool answers = argc == 4 && strcmp(argv[1], "answer") == 0;
    if (!answers && (argc != 4 || strcmp(argv[1], "echo") != 0)) {
        fprintf(stderr, "usage: echo echo|answer ADDRESS PORT\n");
        return 2;
    }
    serve(open_socket(argv[2], (unsigned)atoi(argv[3])), answers ? reply_answer : reply_echo);
}
