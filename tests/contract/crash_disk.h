/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk in memory that loses power. It knows of each file what was synced and what was only
 * written, and of each name whether its directory was; it keeps a log of all that was done to it,
 * so that it can be told what is left when the power goes after any of these operations.
 *
 * What is left of what was not synced is decided by a seed: nothing, all, any of its sectors (of
 * 512 or of 4,096 bytes, some of them written in part, from one end), in the order of writing or in
 * none; a file may have its new length but not its new content, with zeros or anything else
 * instead; names made or removed since their directory was synced are there or not.
 *
 * It also fails: a full disk, one that is read-only, errors of single operations, of all from one
 * on, bytes that change by themselves, and a sync that fails after which what was written is gone
 * though later syncs succeed (https://wiki.postgresql.org/wiki/Fsync_Errors).
 *
 * crash_vfs.h is the way to it. All of it may be called from any thread, of any disk.
 */
#ifndef ISOLA_TESTS_CRASH_DISK_H
#define ISOLA_TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;

/* With what `image` had, if any, all of it synced. */
struct disk *disk_new(const struct disk *image);
void disk_free(struct disk *d);

/* How many operations that change something, or sync, were begun. */
size_t disk_ops(const struct disk *d);
/* Operation number `op`, from 0, syncs a file. */
bool disk_syncs(const struct disk *d, size_t op);
/* Does to `d` what was done to `from`, up to that many operations; `d` began as `from` did, and has
 * had some of them, or none. `from` must outlive it. */
void disk_follow(struct disk *d, const struct disk *from, size_t ops);
/* What is left when the power goes. `d` stays. */
struct disk *disk_lose_power(const struct disk *d, uint64_t seed);
/* What there is for who comes after a process that was killed: all of it, and what was not synced
 * may still be lost. `d` stays as it is, and must outlive it. */
struct disk *disk_kill(const struct disk *d);
/* In words, of a seed. */
const char *disk_what_is_lost(uint64_t seed);

/* --- faults --- */

enum disk_kind {
    DISK_READ = 1,
    DISK_WRITE = 2,
    DISK_SYNC = 4,
    DISK_TRUNCATE = 8,
    DISK_OPEN = 16, /* for what is there, too */
    DISK_DELETE = 32,
    DISK_ALL = 63,
};
/* Of the operations of these kinds (a mask) that begin from now on, number `first` (from 1) and
 * those after it fail with `error` (errno), `times` of them; the others do not. A write that fails
 * may be done in part, and of what a failed sync was to sync some is lost for good: by the seed.
 * With `evict` reads show that at once, else not before the disk is used anew. */
void disk_fail(struct disk *d, unsigned kinds, size_t first, size_t times, int error, bool evict,
               uint64_t seed);
/* Files may grow by that many bytes together; then ENOSPC. */
void disk_set_room(struct disk *d, size_t bytes);
/* No faults, and room enough. */
void disk_heal(struct disk *d);
/* How many operations have failed of it. */
size_t disk_failures(const struct disk *d);
/* Operations so far of these kinds; counts reads as well. */
size_t disk_count(const struct disk *d, unsigned kinds);

/* --- files; all return 0 or an errno --- */

/* `made`: it was not there. `file` is good as long as the disk, also when its name is removed. */
int disk_open(struct disk *d, const char *name, bool create, int *file, bool *made);
/* It is there, and not empty. */
bool disk_has(struct disk *d, const char *name);
int disk_remove(struct disk *d, const char *name);
/* `got`: up to the end of the file; the rest of `to` is zeros. */
int disk_read(struct disk *d, int file, void *to, size_t len, size_t at, size_t *got);
int disk_write(struct disk *d, int file, const void *from, size_t len, size_t at);
int disk_truncate(struct disk *d, int file, size_t size);
int disk_sync(struct disk *d, int file);
/* The names in the directory that `name` is in. */
int disk_sync_dir(struct disk *d, const char *name);
size_t disk_size(struct disk *d, int file);

/* Name number `i`, or NULL: the caller's to free. */
char *disk_name(struct disk *d, size_t i);
/* Changes a byte where it lies. */
void disk_flip(struct disk *d, const char *name, size_t at, uint8_t mask);

/* --- randomness --- */

static inline uint64_t disk_random(uint64_t *seed) /* splitmix64 */
{
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static inline size_t disk_pick(uint64_t *seed, size_t n)
{
    return (size_t)(disk_random(seed) % n);
}

#endif
