/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite on disks of crash_disk.h: a VFS that does what SQLite's own does on Linux, with the same
 * promises of the device (a write changes nothing around it) and the same syncs of directories.
 * Locks and the shared memory of write-ahead logs are in memory, among the connections of this
 * process; temporary files are the system's.
 */
#ifndef ISOLA_TESTS_CRASH_VFS_H
#define ISOLA_TESTS_CRASH_VFS_H

#include "crash_disk.h"

/* Files that SQLite opens from now on are on `d`; NULL: on none, and cannot be opened. The first
 * call makes this the default VFS of the process. Those that are open stay where they are; the disk
 * must outlive them. */
void crash_vfs_use(struct disk *d);
/* How many files are open. */
size_t crash_vfs_open_files(void);

#endif
