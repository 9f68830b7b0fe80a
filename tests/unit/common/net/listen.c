#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include "common/net/listen.h"
#include "tests/lib/tmpdir.h"

static void bound(int fd, struct addr *a)
{
    a->len = sizeof a->ss;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a->ss, &a->len), 0);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static void test_in_use(void **state)
{
    struct addr a;
    struct err_info info;
    int fd, other;
    (void)state;
    assert_int_equal(addr_parse(&a, "127.0.0.1:0", &info), ERR_OK);
    assert_int_equal(listen_tcp(&fd, &a, false, &info), ERR_OK);
    bound(fd, &a);
    assert_int_equal(listen_tcp(&other, &a, false, &info), ERR_EXISTS);
    assert_non_null(strstr(info.text, "127.0.0.1:"));
    close(fd);
    assert_int_equal(listen_udp(&fd, &a, true, 65536, &info), ERR_OK);
    bound(fd, &a);
    assert_int_equal(listen_udp(&other, &a, true, 0, &info), ERR_OK); /* shared */
    close(other);
    assert_int_equal(listen_udp(&other, &a, false, 0, &info), ERR_EXISTS);
    close(fd);
    assert_int_equal(addr_parse(&a, "192.0.2.77:0", &info), ERR_OK);
    assert_int_equal(listen_tcp(&fd, &a, false, &info), ERR_IO); /* not ours */
}

static void test_unix(void **state)
{
    struct tmpdir dir;
    struct stat st;
    struct err_info info;
    int fd, other;
    (void)state;
    tmpdir_make(&dir);
    const char *path = tmpdir_file(&dir, "s");
    assert_int_equal(listen_unix(&fd, path, 0600, &info), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(listen_unix(&other, path, 0600, &info), ERR_EXISTS);
    close(fd);
    assert_int_equal(listen_unix(&fd, path, 0660, &info), ERR_OK); /* a dead one is replaced */
    close(fd);
    tmpdir_write(&dir, "f", "x");
    assert_int_equal(listen_unix(&fd, tmpdir_file(&dir, "f"), 0600, &info), ERR_EXISTS);
    char text[200];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    assert_int_equal(listen_unix(&fd, text, 0600, &info), ERR_LIMIT);
    tmpdir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_in_use),
                                        cmocka_unit_test(test_unix) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
