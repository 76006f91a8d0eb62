/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of tcp:// urls.
 */
#include "transport/tcp.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void good(const char *url, const char *host, uint16_t port, const char *again)
{
    struct isola_tcp tcp;
    char text[ISOLA_TCP_URL];
    assert_true(isola_tcp_parse(url, &tcp));
    assert_string_equal(tcp.host, host);
    assert_int_equal(tcp.port, port);
    isola_tcp_format(&tcp, text);
    assert_string_equal(text, again);
}

static void urls(void **state)
{
    (void)state;
    good("tcp://127.0.0.1:4711", "127.0.0.1", 4711, "tcp://127.0.0.1:4711");
    good("tcp://localhost:0", "127.0.0.1", 0, "tcp://127.0.0.1:0");
    good("tcp://[::1]:65535", "::1", 65535, "tcp://[::1]:65535");
    good("tcp://[2001:db8::1]:1", "2001:db8::1", 1, "tcp://[2001:db8::1]:1");
    static const char *const bad[] = {"",
                                      "tcp://",
                                      "tcp://127.0.0.1",
                                      "tcp://127.0.0.1:",
                                      "tcp://127.0.0.1:65536",
                                      "tcp://127.0.0.1:123456",
                                      "tcp://127.0.0.1:+1",
                                      "tcp://127.0.0.1:1 ",
                                      "tcp://127.0.0.1:1/x",
                                      "tcp://127.1:1",
                                      "tcp://::1:1",
                                      "tcp://[::1:1",
                                      "tcp://[::1]",
                                      "tcp://[127.0.0.1]:1",
                                      "tcp://[fe80::1%eth0]:1",
                                      "tcp://host.example:1",
                                      "tcp://[11111111111111111111111111111111111111111111111111111"
                                      "1111111111111]:1",
                                      "unix:/x",
                                      "127.0.0.1:1"};
    struct isola_tcp tcp;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (isola_tcp_parse(bad[i], &tcp))
            fail_msg("\"%s\" was taken", bad[i]);
    }
}

static void hosts(void **state)
{
    (void)state;
    struct isola_tcp tcp;
    assert_true(isola_tcp_parse_host("10.0.0.1", &tcp));
    assert_int_equal(tcp.port, 0);
    assert_true(isola_tcp_parse_host("[fd00::1]:80", &tcp));
    assert_string_equal(tcp.host, "fd00::1");
    assert_int_equal(tcp.port, 80);
    assert_false(isola_tcp_parse_host("fd00::1", &tcp));
    assert_false(isola_tcp_parse_host("10.0.0.1:", &tcp));
    assert_false(isola_tcp_parse_host("tcp://10.0.0.1:1", &tcp));
}

static void kinds(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool wildcard, loopback;
    } cases[] = {{"0.0.0.0", true, false},     {"[::]", true, false},  {"127.0.0.1", false, true},
                 {"127.255.0.1", false, true}, {"[::1]", false, true}, {"10.0.0.1", false, false},
                 {"[fd00::1]", false, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct isola_tcp tcp;
        assert_true(isola_tcp_parse_host(cases[i].host, &tcp));
        assert_int_equal(isola_tcp_wildcard(&tcp), cases[i].wildcard);
        assert_int_equal(isola_tcp_loopback(&tcp), cases[i].loopback);
    }
}

static void trying_to_listen(void **state)
{
    (void)state;
    struct isola_err err;
    struct isola_tcp tcp = {.host = "127.0.0.1"};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    tcp.port = ntohs(at.sin_port);
    assert_int_equal(isola_tcp_try_listen(&tcp, &err), ISOLA_EBUSY);
    assert_non_null(strstr(err.text, " is in use by another process"));
    close(fd);
    assert_int_equal(isola_tcp_try_listen(&tcp, &err), 0);
    assert_int_equal(isola_tcp_try_listen(&tcp, &err), 0); /* it has let go */

    assert_true(isola_tcp_parse("tcp://192.0.2.1:0", &tcp)); /* of documents, of no machine */
    assert_int_equal(isola_tcp_try_listen(&tcp, &err), ISOLA_EIO);
    assert_string_equal(err.text, "cannot listen on tcp://192.0.2.1:0: this machine has no such "
                                  "address; choose one of those that `ip address` shows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(urls), cmocka_unit_test(hosts),
                                       cmocka_unit_test(kinds), cmocka_unit_test(trying_to_listen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
