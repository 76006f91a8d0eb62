/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/capture.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"

#define SNAPLEN  262144
#define ETHERNET 1 /* LINKTYPE_ETHERNET */

/* https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap: in the byte order of this machine. */
struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t reserved1, reserved2;
    uint32_t snaplen;
    uint32_t linktype;
};

struct frame_header {
    uint32_t seconds, microseconds;
    uint32_t captured, length;
};

int isola_capture_start(struct isola_capture *c, const char *path, struct isola_err *err)
{
    static const struct file_header header = {
        .magic = 0xa1b2c3d4u, .major = 2, .minor = 4, .snaplen = SNAPLEN, .linktype = ETHERNET};
    FILE *file = fopen(path, "we");
    if (!file)
        return isola_fail(err, ISOLA_EIO, "the capture file %s cannot be written: %s", path,
                          strerror(errno));
    fwrite(&header, sizeof header, 1, file);
    *c = (struct isola_capture){.file = file, .path = isola_strdup(path)};
    return 0;
}

void isola_capture_frame(struct isola_capture *c, const uint8_t *bytes, size_t n)
{
    if (!c->file)
        return;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    struct frame_header header = {.seconds = (uint32_t)t.tv_sec,
                                  .microseconds = (uint32_t)(t.tv_nsec / 1000),
                                  .captured = (uint32_t)n,
                                  .length = (uint32_t)n};
    fwrite(&header, sizeof header, 1, c->file);
    fwrite(bytes, 1, n, c->file);
    c->frames++;
}

int isola_capture_stop(struct isola_capture *c, struct isola_err *err)
{
    if (!c->file)
        return 0;
    bool failed = ferror(c->file) != 0;
    failed |= fclose(c->file) != 0;
    int rc = failed ? isola_fail(err, ISOLA_EIO, "the capture file %s is not complete: %s", c->path,
                                 strerror(errno))
                    : 0;
    free(c->path);
    *c = (struct isola_capture){0};
    return rc;
}
