/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/hosts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEVICE "eth0"

static struct ifreq request(const char *device)
{
    struct ifreq r = {0};
    strncpy(r.ifr_name, device, sizeof r.ifr_name - 1);
    return r;
}

static struct ifreq request_address(uint32_t address)
{
    struct ifreq r = request(DEVICE);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = address};
    memcpy(&r.ifr_addr, &in, sizeof in);
    return r;
}

static int up(int s, const char *device)
{
    struct ifreq r = request(device);
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    return ioctl(s, SIOCSIFFLAGS, &r);
}

/* No neighbour discovery, which is noise to those who count frames. Without IPv6 in the kernel
 * there is nothing to switch off. */
static void without_ipv6(void)
{
    static const char *const files[] = {"/proc/sys/net/ipv6/conf/all/disable_ipv6",
                                        "/proc/sys/net/ipv6/conf/default/disable_ipv6"};
    for (unsigned i = 0; i < 2; i++) {
        int fd = open(files[i], O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            return;
        ssize_t n = write(fd, "1", 1);
        (void)n;
        close(fd);
    }
}

/* In the new namespace: the device, its addresses, and all of it up. */
static int equip(struct isola_net_host *h, in_addr_t address, struct isola_err *err)
{
    int s = -1, rc;
    h->tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (h->tap < 0)
        return isola_fail(err, errno == EACCES || errno == EPERM ? ISOLA_EPERM : ISOLA_ENOENT,
                          "this machine has no TAP devices: /dev/net/tun cannot be opened (%s); "
                          "the kernel's module tun makes it",
                          strerror(errno));
    struct ifreq r = request(DEVICE);
    r.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (ioctl(h->tap, TUNSETIFF, &r) != 0) {
        rc = isola_fail(err, errno == EPERM ? ISOLA_EPERM : ISOLA_ENOENT,
                        "no TAP device can be made in a network namespace: %s", strerror(errno));
        goto out;
    }
    without_ipv6();
    if ((s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
        goto failed;
    r = request(DEVICE);
    r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(r.ifr_hwaddr.sa_data, h->mac, sizeof h->mac);
    if (ioctl(s, SIOCSIFHWADDR, &r) != 0)
        goto failed;
    r = request_address(address);
    if (ioctl(s, SIOCSIFADDR, &r) != 0)
        goto failed;
    r = request_address(htonl(0xffffff00u));
    if (ioctl(s, SIOCSIFNETMASK, &r) != 0)
        goto failed;
    if (up(s, "lo") != 0 || up(s, DEVICE) != 0)
        goto failed;
    close(s);
    return 0;
failed:
    rc = isola_fail(err, ISOLA_EIO, "host %s cannot be set up in its namespace: %s", h->name,
                    strerror(errno));
    if (s >= 0)
        close(s);
out:
    close(h->tap);
    return rc;
}

int isola_net_host_open(struct isola_net_host *h, const char *text, unsigned index,
                        struct isola_err *err)
{
    struct isola_net_host made = {.mac = {2, 0, 0, 0, 0, (uint8_t)(index + 1)}};
    struct in_addr address;
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : 0;
    if (length == 0 || length >= sizeof made.name ||
        strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789") != length ||
        strlen(equals + 1) >= sizeof made.address || inet_pton(AF_INET, equals + 1, &address) != 1)
        return isola_fail(err, ISOLA_EINVAL,
                          "\"%s\" is no host: expected NAME=ADDRESS, a name of up to %d letters "
                          "and digits and an IPv4 address",
                          text, ISOLA_NET_NAME - 1);
    memcpy(made.name, text, length);
    strcpy(made.address, equals + 1);

    int rc, home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0)
        return isola_fail(err, ISOLA_ENOENT, "this kernel has no network namespaces: %s",
                          strerror(errno));
    if (unshare(CLONE_NEWNET) != 0) {
        rc = isola_fail(err, errno == EPERM ? ISOLA_EPERM : ISOLA_ENOENT,
                        "no network namespace can be made (%s); it takes root (CAP_SYS_ADMIN)",
                        strerror(errno));
        goto out;
    }
    made.net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (made.net < 0)
        rc = isola_fail(err, ISOLA_EIO, "/proc/self/ns/net: %s", strerror(errno));
    else if ((rc = equip(&made, address.s_addr, err)) != 0)
        close(made.net);
    if (setns(home, CLONE_NEWNET) != 0 && rc == 0) {
        rc = isola_fail(err, ISOLA_EIO, "no way back out of the namespace of %s: %s", made.name,
                        strerror(errno));
        isola_net_host_close(&made);
    }
    if (rc == 0)
        *h = made;
out:
    close(home);
    return rc;
}

/* In the namespace of `h`. */
static int learn(int s, const struct isola_net_host *other)
{
    struct arpreq r = {.arp_flags = ATF_PERM | ATF_COM};
    struct sockaddr_in in = {.sin_family = AF_INET};
    inet_pton(AF_INET, other->address, &in.sin_addr);
    memcpy(&r.arp_pa, &in, sizeof in);
    r.arp_ha.sa_family = ARPHRD_ETHER;
    memcpy(r.arp_ha.sa_data, other->mac, sizeof other->mac);
    strcpy(r.arp_dev, DEVICE);
    return ioctl(s, SIOCSARP, &r);
}

int isola_net_hosts_meet(const struct isola_net_host *hosts, unsigned n, struct isola_err *err)
{
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int rc = home < 0 ? -1 : 0;
    for (unsigned i = 0; i < n && rc == 0; i++) {
        int s = setns(hosts[i].net, CLONE_NEWNET) == 0
                    ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
                    : -1;
        rc = s < 0 ? -1 : 0;
        for (unsigned k = 0; k < n && rc == 0; k++)
            if (k != i)
                rc = learn(s, &hosts[k]);
        if (s >= 0)
            close(s);
    }
    if (rc != 0)
        rc = isola_fail(err, ISOLA_EIO, "the hosts cannot be told of one another: %s",
                        strerror(errno));
    if (home >= 0 && setns(home, CLONE_NEWNET) != 0 && rc == 0)
        rc = isola_fail(err, ISOLA_EIO, "no way back out of the namespaces: %s", strerror(errno));
    if (home >= 0)
        close(home);
    return rc;
}

void isola_net_host_close(struct isola_net_host *h)
{
    close(h->tap);
    close(h->net);
}
