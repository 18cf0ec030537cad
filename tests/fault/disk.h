/*  disk.h - a disk that may lose power: what the files of a recorded folder look like afterwards.
 *
 *  disk_step takes the events of a log in order. A write may or may not be on the disk until a sync
 *  of its file succeeds; a write through an O_DSYNC descriptor is there when the call is over. After
 *  a sync that failed, what came before it stays in doubt for ever, whatever later syncs answer
 *  (pages that could not be written are marked clean). Names (created, renamed, removed files) are
 *  on the disk after a sync of their folder, in order: a later one never without an earlier.
 *
 *  Thread: one.   Ownership: the disk copies nothing: the log must outlive it.
 *  Errors: end the program. */
#ifndef DISK_H
#define DISK_H

#include "fault_log.h"
#include "kit.h"

typedef struct disk disk;

typedef enum disk_mode {
    DISK_NONE,    /* of what is in doubt nothing */
    DISK_ALL,     /* everything */
    DISK_SUBSET,  /* each write by chance */
    DISK_TORN,    /* each write by chance, one of them only up to, or from, a multiple of 512 */
    DISK_SECTORS, /* each 512 bytes by chance */
    DISK_MODES
} disk_mode;

const char *disk_mode_name(disk_mode m);

/* `ignore_syncs`: a disk that lies, for the check of the checkers. */
disk *disk_new(const char *folder, bool ignore_syncs);
void disk_free(disk *d);
void disk_step(disk *d, const fault_event *e);
/* Writes and names that a loss of power now may lose. */
size_t disk_in_doubt(const disk *d);
/* Writes the files below `folder` (made if missing; what was there goes) as they may be after a
 * loss of power now, or while `next` is being done (NULL: nothing is). */
void disk_image(const disk *d, const fault_event *next, disk_mode mode, rng *r, const char *folder);
/* Compares all files with the real ones, as though nothing was lost; returns how many there are. */
size_t disk_compare(const disk *d);

#endif
