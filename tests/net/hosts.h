/* SPDX-License-Identifier: Apache-2.0
 *
 * Hosts: network namespaces, each with one Ethernet device (a TAP) whose other end is here.
 *
 * The namespaces have no names: they are held by descriptors alone, and a program enters one
 * through /proc/PID/fd/N. So whatever becomes of whoever made them, nothing of them is left when
 * the last process in them has ended; there is nothing to be removed, and no name that a second run
 * could find taken. A TAP's frames are those that a wire would see: checksums are in them, and none
 * is larger than the MTU, as no offload is offered.
 */
#ifndef ISOLA_TESTS_NET_HOSTS_H
#define ISOLA_TESTS_NET_HOSTS_H

#include <stdint.h>

#include "base/annotate.h"
#include "base/error.h"

#define ISOLA_NET_NAME 16 /* with its NUL */

struct isola_net_host {
    char name[ISOLA_NET_NAME];
    char address[16]; /* IPv4 */
    uint8_t mac[6];
    int net; /* its namespace, in which programs are run */
    int tap; /* its frames; does not block */
};

/* Makes a host from "NAME=ADDRESS", with the netmask 255.255.255.0 and the device eth0; `index` is
 * its number among the others. On failure `h` is untouched. ISOLA_EPERM, ISOLA_ENOENT: this machine
 * lacks what it takes, and `err` says what. ISOLA_EINVAL: the text is not of that form. */
int isola_net_host_open(struct isola_net_host *h, const char *text, unsigned index,
                        struct isola_err *err) __attribute__((warn_unused_result));
/* Tells each of the `n` hosts the hardware addresses of the others for good: so nobody has to ask
 * for them, no frame is under way but those of programs, and what happens when a link is cut is
 * silence, as behind a router, not an error of the neighbour's. */
int isola_net_hosts_meet(const struct isola_net_host *hosts, unsigned n, struct isola_err *err)
    __attribute__((warn_unused_result));
void isola_net_host_close(struct isola_net_host *h);

#endif
