/* SPDX-License-Identifier: Apache-2.0
 *
 * mmap() of the actor-host's Node.js: the launcher has this library loaded before the others
 * (LD_PRELOAD).
 *
 * V8 asks for each 256 KB of a heap at an address drawn by lot. The kernel heeds that, so each is a
 * mapping of its own, and Linux gives a process 65,530 of them: less than 8,000 isolates. Asked for
 * no address, it puts them side by side, and those that lie side by side are one mapping. What is
 * lost is that pages of one process lie at random to each other; where they lie as a whole is still
 * drawn by lot, by the kernel.
 *
 * Only memory to be read and written at once is treated so: V8 reserves what it will run code from
 * near its own code, and asks for that with no access. Without this library all works, with fewer
 * isolates.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* Programs that this one starts are no business of ours. */
__attribute__((constructor)) static void hide(void)
{
    const char *all = getenv("LD_PRELOAD");
    const char *rest = all != NULL ? strchr(all, ':') : NULL;
    if (rest != NULL)
        setenv("LD_PRELOAD", rest + 1, 1);
    else
        unsetenv("LD_PRELOAD");
}

EXPORT void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    const int anywhere = MAP_PRIVATE | MAP_ANONYMOUS;
    if (prot == (PROT_READ | PROT_WRITE) && (flags & ~MAP_NORESERVE) == anywhere)
        at = NULL;
    return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    return mmap(at, len, prot, flags, fd, offset);
}
