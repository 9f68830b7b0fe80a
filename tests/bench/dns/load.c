/* Load on a name server at 127.0.0.1 over UDP, at less cost than the server's own.
 *
 *   load [-a ADDRESS] -p PORT -f FILE [-t SECONDS] [-n QUERIES] [-c SOCKETS] [-w WINDOW] [-r RATE]
 *        [-g MS] [-edu]
 *
 * FILE has a question a line: NAME TYPE. Each socket keeps WINDOW questions in flight; one without
 * an answer for MS is given up. With -r questions are sent at RATE a second instead. It ends after
 * SECONDS, or once QUERIES are sent and answered or given up. -e EDNS, -d EDNS with DO, -u no name
 * twice: a counter is written into the second label. One line of JSON on stdout. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define SOCKETS_MAX 256
#define QUESTION_MAX 300
#define REPLY_MAX 2048
#define BUCKETS                                                                                    \
    100000 /* of a tenth of a microsecond: latencies up to 10 ms, the last is longer               \
            */

struct question {
    uint16_t len;
    uint8_t wire[QUESTION_MAX];
};

struct lane {
    int fd;
    unsigned in_flight;
    uint16_t next_id;
    uint64_t heard_ns; /* last answer, or first question after a silence */
    uint64_t *sent_ns; /* by id */
};

static struct {
    const char *address;
    unsigned port, n_lanes, window;
    double seconds, rate;
    uint64_t n_max, give_up_ns;
    bool edns, dnssec_ok, unique;
    const char *file;
} opt = {
    .address = "127.0.0.1", .n_lanes = 8, .window = 32, .seconds = 2, .give_up_ns = 500000000
};

static struct question *questions;
static size_t n_questions;
static struct lane lanes[SOCKETS_MAX];
static uint64_t n_sent, n_answered, n_noerror, n_with_answer, n_bytes;
static uint32_t latency[BUCKETS];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static unsigned type_number(const char *text)
{
    static const struct {
        const char *text;
        unsigned number;
    } TYPES[] = { { "A", 1 }, { "NS", 2 }, { "SOA", 6 }, { "TXT", 16 }, { "AAAA", 28 } };
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++) {
        if (strcmp(text, TYPES[i].text) == 0)
            return TYPES[i].number;
    }
    fprintf(stderr, "load: unknown type %s\n", text);
    exit(2);
}

static void encode(struct question *q, const char *name, unsigned type)
{
    static const uint8_t OPT[] = { 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0 };
    uint8_t *p = q->wire;
    memset(p, 0, 12);
    p[5] = 1;
    p[11] = opt.edns;
    p += 12;
    while (*name != 0) {
        size_t len = strcspn(name, ".");
        *p++ = (uint8_t)len;
        memcpy(p, name, len);
        p += len;
        name += len + (name[len] == '.');
    }
    *p++ = 0;
    *p++ = 0;
    *p++ = (uint8_t)type;
    *p++ = 0;
    *p++ = 1;
    if (opt.edns) {
        memcpy(p, OPT, sizeof OPT);
        p[7] = opt.dnssec_ok ? 0x80 : 0;
        p += sizeof OPT;
    }
    q->len = (uint16_t)(p - q->wire);
}

static void read_questions(void)
{
    char name[256], type[16];
    size_t cap = 1024;
    FILE *f = fopen(opt.file, "r");
    if (f == NULL)
        die(opt.file);
    questions = malloc(cap * sizeof *questions);
    while (questions != NULL && fscanf(f, "%254s %15s", name, type) == 2) {
        encode(&questions[n_questions++], name, type_number(type));
        if (n_questions == cap)
            questions = realloc(questions, (cap *= 2) * sizeof *questions);
    }
    fclose(f);
    /* each of a batch is written into: it needs a buffer of its own */
    for (size_t i = 0; n_questions > 0 && n_questions < BATCH; i++)
        questions[n_questions++] = questions[i];
    if (questions == NULL || n_questions == 0) {
        fprintf(stderr, "load: no questions in %s\n", opt.file);
        exit(2);
    }
}

static void open_lanes(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)opt.port),
                              .sin_addr.s_addr = inet_addr(opt.address) };
    int len = 4 << 20;
    for (unsigned i = 0; i < opt.n_lanes; i++) {
        struct lane *l = &lanes[i];
        l->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        l->sent_ns = calloc(65536, sizeof *l->sent_ns);
        (void)setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &len, sizeof len);
        if (l->sent_ns == NULL || connect(l->fd, (const struct sockaddr *)&to, sizeof to) != 0)
            die("load");
    }
}

/* Eight characters of the second label become the number of the question. */
static void make_unique(uint8_t *wire)
{
    uint8_t *label = wire + 12 + 1 + wire[12];
    if (label[0] < 8)
        return;
    uint64_t n = n_sent;
    for (unsigned i = 1; i <= 8; i++, n >>= 5)
        label[i] = (uint8_t) "abcdefghijklmnopqrstuvwxyz234567"[n & 31];
}

/* Sends up to `n` questions. */
static void send_some(struct lane *l, unsigned n)
{
    static size_t next;
    static struct mmsghdr h[BATCH];
    static struct iovec data[BATCH];
    uint64_t at = now_ns();
    n = n < BATCH ? n : BATCH;
    if (opt.n_max > 0 && n_sent + n > opt.n_max)
        n = (unsigned)(opt.n_max - n_sent);
    for (unsigned i = 0; i < n; i++) {
        struct question *q = &questions[next];
        next = next + 1 == n_questions ? 0 : next + 1;
        uint16_t id = (uint16_t)(l->next_id + i);
        q->wire[0] = (uint8_t)(id >> 8);
        q->wire[1] = (uint8_t)id;
        l->sent_ns[id] = at;
        n_sent++;
        if (opt.unique)
            make_unique(q->wire);
        data[i] = (struct iovec){ q->wire, q->len };
        h[i].msg_hdr = (struct msghdr){ .msg_iov = &data[i], .msg_iovlen = 1 };
    }
    int sent = n == 0 ? 0 : sendmmsg(l->fd, h, n, 0);
    unsigned done = sent > 0 ? (unsigned)sent : 0;
    n_sent -= n - done;
    if (l->in_flight == 0)
        l->heard_ns = at;
    l->next_id = (uint16_t)(l->next_id + done);
    l->in_flight += done;
}

static void count(struct lane *l, const uint8_t *reply, size_t len, uint64_t at)
{
    uint16_t id = (uint16_t)(reply[0] << 8 | reply[1]);
    if (len < 12 || l->sent_ns[id] == 0)
        return;
    uint64_t bucket = (at - l->sent_ns[id]) / 100;
    l->sent_ns[id] = 0;
    latency[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    n_answered++;
    n_bytes += len;
    n_noerror += (reply[3] & 15) == 0;
    n_with_answer += (reply[6] | reply[7]) != 0;
    l->in_flight -= l->in_flight > 0;
    l->heard_ns = at;
}

/* Takes the answers that wait. True when there were any. */
static bool receive_some(struct lane *l)
{
    static uint8_t replies[BATCH][REPLY_MAX];
    static struct mmsghdr h[BATCH];
    static struct iovec data[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        data[i] = (struct iovec){ replies[i], REPLY_MAX };
        h[i].msg_hdr = (struct msghdr){ .msg_iov = &data[i], .msg_iovlen = 1 };
    }
    int n = recvmmsg(l->fd, h, BATCH, MSG_DONTWAIT, NULL);
    uint64_t at = now_ns();
    for (int i = 0; i < n; i++)
        count(l, replies[i], h[i].msg_len, at);
    if (n <= 0 && l->in_flight > 0 && at - l->heard_ns > opt.give_up_ns)
        l->in_flight = 0; /* lost */
    return n > 0;
}

static unsigned in_flight(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < opt.n_lanes; i++)
        n += lanes[i].in_flight;
    return n;
}

static void wait_any(void)
{
    struct pollfd p[SOCKETS_MAX];
    for (unsigned i = 0; i < opt.n_lanes; i++)
        p[i] = (struct pollfd){ .fd = lanes[i].fd, .events = POLLIN };
    (void)poll(p, opt.n_lanes, 5);
}

static void run_window(uint64_t end_ns)
{
    while (now_ns() < end_ns) {
        bool any = false;
        for (unsigned i = 0; i < opt.n_lanes; i++) {
            struct lane *l = &lanes[i];
            any |= receive_some(l);
            if (l->in_flight <= opt.window / 2) /* whole batches cost less */
                send_some(l, opt.window - l->in_flight);
        }
        if (opt.n_max > 0 && n_sent >= opt.n_max && in_flight() == 0)
            return;
        if (!any)
            wait_any();
    }
}

static void run_rate(uint64_t began_ns, uint64_t end_ns)
{
    unsigned turn = 0;
    for (uint64_t at = began_ns; at < end_ns; at = now_ns()) {
        uint64_t due = (uint64_t)((double)(at - began_ns) * opt.rate / 1e9);
        if (n_sent < due) {
            send_some(&lanes[turn], 1);
            turn = (turn + 1) % opt.n_lanes;
        }
        for (unsigned i = 0; i < opt.n_lanes; i++) {
            if (lanes[i].in_flight > 0)
                (void)receive_some(&lanes[i]);
        }
    }
}

/* The latency that `part` of the answers stayed at or under, in microseconds. */
static double percentile(double part)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        sum += latency[i];
        if ((double)sum >= part * (double)n_answered)
            return i / 10.0;
    }
    return BUCKETS / 10.0;
}

static void read_options(int argc, char **argv)
{
    for (int c; (c = getopt(argc, argv, "a:p:f:t:n:c:w:r:g:edu")) != -1;) {
        switch (c) {
        case 'a':
            opt.address = optarg;
            break;
        case 'p':
            opt.port = (unsigned)atoi(optarg);
            break;
        case 'f':
            opt.file = optarg;
            break;
        case 't':
            opt.seconds = atof(optarg);
            break;
        case 'n':
            opt.n_max = strtoull(optarg, NULL, 10);
            break;
        case 'c':
            opt.n_lanes = (unsigned)atoi(optarg);
            break;
        case 'w':
            opt.window = (unsigned)atoi(optarg);
            break;
        case 'r':
            opt.rate = atof(optarg);
            break;
        case 'g':
            opt.give_up_ns = strtoull(optarg, NULL, 10) * 1000000;
            break;
        case 'd':
            opt.dnssec_ok = opt.edns = true;
            break;
        case 'e':
            opt.edns = true;
            break;
        case 'u':
            opt.unique = true;
            break;
        default:
            exit(2);
        }
    }
    if (opt.port == 0 || opt.file == NULL || opt.n_lanes == 0 || opt.n_lanes > SOCKETS_MAX ||
        opt.window == 0) {
        fprintf(stderr,
                "usage: load [-a ADDRESS] -p PORT -f FILE [options]; the source has them\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    read_questions();
    open_lanes();
    uint64_t began = now_ns(), end = began + (uint64_t)(opt.seconds * 1e9);
    if (opt.rate > 0)
        run_rate(began, end);
    else
        run_window(end);
    double seconds = (double)(now_ns() - began) / 1e9;
    for (unsigned i = 0; i < 50 && in_flight() > 0; i++) { /* what is still on its way */
        wait_any();
        for (unsigned k = 0; k < opt.n_lanes; k++)
            (void)receive_some(&lanes[k]);
    }
    double n = n_answered > 0 ? (double)n_answered : 1;
    printf("{\"sent\": %llu, \"answered\": %llu, \"lost\": %llu, \"seconds\": %.3f, "
           "\"noerror\": %.4f, \"with_answer\": %.4f, \"bytes\": %.1f, \"p50_us\": %.1f, "
           "\"p99_us\": %.1f}\n",
           (unsigned long long)n_sent, (unsigned long long)n_answered,
           (unsigned long long)(n_sent - n_answered), seconds, (double)n_noerror / n,
           (double)n_with_answer / n, (double)n_bytes / n, percentile(.5), percentile(.99));
    return 0;
}
