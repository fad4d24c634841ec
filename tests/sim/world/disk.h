/*
 * The disk of a simulated host: what readers see (the page cache) and what is on stable storage, kept side by side,
 * with the writes and names in between that a crash may lose. Plain calls; time and faults in flight are file.c's.
 */
#ifndef NM_TESTS_SIM_DISK_H
#define NM_TESTS_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/io/io.h"
#include "tests/sim/world/rng.h"
#include "tests/sim/world/sim.h"

enum { SIM_SECTOR = 512 };

struct bytes {
    uint8_t *data;
    size_t len, room;
};

/* A write or a truncation that is not stable. */
struct unsynced {
    uint64_t number; /* of the disk's changes, in the order of completion */
    uint64_t offset;
    uint8_t *data; /* NULL: truncate to `offset` */
    size_t len;
    size_t arrives; /* in a crash: so much from its beginning */
    bool forgotten; /* a sync of it failed: no later one covers it */
};

struct inode;

struct names { /* of a directory, sorted */
    struct name {
        char *text;
        struct inode *inode;
    } * all;
    size_t count, room;
};

struct inode {
    bool is_dir, marked;
    unsigned handles;
    const void *lock; /* the handle that has it */
    struct bytes now, stable;
    uint64_t *bad; /* sectors that cannot be read */
    size_t bad_count;
    struct unsynced *writes;
    size_t write_count, write_room;
    struct names names, stable_names;
};

/* A change of names that is not stable: a creation has an `add`, an unlink a `remove`, a rename has both. */
struct name_change {
    struct inode *target, *add_dir, *remove_dir;
    char *add_name, *remove_name;
    bool brings_data; /* SIM_NAMES_EXT4: what was written to the target before comes along */
    uint64_t number;  /* of the disk's changes */
};

struct disk {
    struct sim_disk_settings settings;
    struct inode **inodes; /* in order of creation; the first is the root */
    size_t inode_count, inode_room;
    uint64_t number;             /* that the next change of bytes or names gets */
    struct name_change *changes; /* in order */
    size_t change_count, change_room;
    struct sim_fault *faults;
    size_t fault_count;
};

void disk_init(struct disk *);
void disk_deinit(struct disk *);

/* Results are 0, a count or -errno throughout. Paths are taken from the root, with or without a leading slash. */
struct inode *disk_find(struct disk *, const char *path);
int disk_open(struct disk *, const char *path, int flags, struct inode **out); /* counts a handle */
void disk_close(struct inode *);
int disk_mkdir(struct disk *, const char *path);
int disk_rmdir(struct disk *, const char *path);
int disk_unlink(struct disk *, const char *path);
int disk_rename(struct disk *, const char *from, const char *to);
ssize_t disk_read(const struct inode *, void *out, size_t len, uint64_t offset);
ssize_t disk_write(struct disk *, struct inode *, const uint8_t *data, size_t len, uint64_t offset); /* short: quota */
int disk_truncate(struct disk *, struct inode *, uint64_t len);
/* Of the changes below `horizon` (a `number`) the file's writes, or the directory's names, become stable, and with
 * SIM_NAMES_EXT4 what the journal has before them. */
void disk_sync(struct disk *, struct inode *, uint64_t horizon);
void disk_sync_writes(struct inode *, uint64_t horizon); /* only a file's */
void disk_sync_failed(struct inode *, uint64_t horizon);

void disk_crash(struct disk *, struct rng *); /* no handle is open */
void disk_mark(const struct disk *);          /* sets `marked` of all that the current names lead to */
void disk_free_inode(struct inode *);

/* disk_fault.c: -errno when the operation shall fail by order, else 0. */
int disk_fault(struct disk *, enum io_kind, const char *path);
/* As sim_disk_rot() and sim_disk_bad_sectors(); whether what is read has a bad sector; and what is written has none. */
unsigned disk_rot(struct disk *, struct rng *, const char *suffix, unsigned bits);
unsigned disk_bad_sectors(struct disk *, struct rng *, const char *suffix, unsigned sectors);
bool disk_is_bad(const struct inode *, uint64_t offset, size_t len);
void disk_remap(struct inode *, uint64_t offset, size_t len);

/* disk_bytes.c */
void bytes_write(struct bytes *, uint64_t offset, const uint8_t *data, size_t len); /* zeros fill a hole */
void bytes_resize(struct bytes *, size_t len);
void bytes_copy(struct bytes *to, const struct bytes *from);
void bytes_take(struct bytes *, void *out, size_t len); /* from the front; len <= bytes->len */
void bytes_deinit(struct bytes *);

/* disk_names.c */
struct inode *names_find(const struct names *, const char *text, size_t len);
void names_set(struct names *, const char *text, struct inode *);
void names_erase(struct names *, const char *text);
void names_copy(struct names *to, const struct names *from);
void names_deinit(struct names *);
void disk_change_names(struct disk *, const struct name_change *); /* now; unstable. Copies the texts */
void disk_sync_names(struct disk *, const struct inode *dir, uint64_t horizon);
/* SIM_NAMES_EXT4: the changes below `horizon` up to the last that concerns the inode; `all`: up to the last. */
void disk_commit_names(struct disk *, const struct inode *, uint64_t horizon, bool all);
void disk_crash_names(struct disk *, struct rng *, uint32_t keep);

#endif
