/* copy.c - copies from one socket to another until the end, as a proxy between two without TLS
 * could: "copy recv FD FD" through a buffer of 64 KiB, "copy splice FD FD" through a pipe. Prints
 * its CPU time in microseconds. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE (64 * 1024)

static int copy_through_buffer(int from, int to)
{
    static char piece[PIECE];
    ssize_t n;
    while ((n = recv(from, piece, sizeof piece, 0)) > 0) {
        for (ssize_t done = 0; done < n;) {
            ssize_t put = send(to, piece + done, (size_t)(n - done), MSG_NOSIGNAL);
            if (put < 0)
                return -1;
            done += put;
        }
    }
    return (int)n;
}

static int copy_through_pipe(int from, int to)
{
    int ends[2];
    ssize_t n;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    while ((n = splice(from, NULL, ends[1], NULL, PIECE, SPLICE_F_MOVE)) > 0) {
        for (ssize_t done = 0; done < n;) {
            ssize_t put =
                splice(ends[0], NULL, to, NULL, (size_t)(n - done), SPLICE_F_MOVE | SPLICE_F_MORE);
            if (put < 0)
                return -1;
            done += put;
        }
    }
    return (int)n;
}

int main(int argc, char **argv)
{
    struct rusage r;
    if (argc != 4)
        return 2;
    int from = atoi(argv[2]), to = atoi(argv[3]);
    int rc = strcmp(argv[1], "splice") == 0 ? copy_through_pipe(from, to)
                                            : copy_through_buffer(from, to);
    if (rc != 0 || getrusage(RUSAGE_SELF, &r) != 0)
        return 1;
    long us = (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000L + r.ru_utime.tv_usec +
              r.ru_stime.tv_usec;
    (void)printf("%ld\n", us);
    return 0;
}
