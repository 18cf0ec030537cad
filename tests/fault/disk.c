/*  disk.c - each file is a base, on which everything up to some point is settled, and the writes
 *  since then in order, each with what is known about it: MAYBE until a sync, then MUST; DOUBT for
 *  ever when a sync or the write itself failed. The leading MUST ones are folded into the base. */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512, FILES = 256 };

typedef enum fate { MAYBE, MUST, DOUBT } fate;

typedef struct change {
    const fault_event *e;
    fate fate;
} change;

typedef struct content {
    char *p;
    size_t n, room;
} content;

typedef struct file {
    bool seen, folder;
    content base;
    change *changes;
    size_t n, room;
} file;

/* Names: what happened to them, in order. `from` and `to` are below the disk's folder. */
typedef struct naming {
    uint32_t file; /* created: which; else 0 */
    bool exchange; /* of two names */
    const char *from, *to;
    size_t from_n, to_n;
    bool settled;
} naming;

typedef struct entry {
    const char *path;
    size_t path_n;
    uint32_t file;
} entry;

struct disk {
    char root[PATH_MAX];
    bool ignore_syncs;
    file files[FILES + 1];
    const fault_event *paths[FILES + 1]; /* where each was opened first */
    naming *names;
    size_t n_names, room_names;
};

static const char *const mode_names[DISK_MODES] = {"none", "all", "subset", "torn", "sectors"};

const char *disk_mode_name(disk_mode m)
{
    return mode_names[m];
}

disk *disk_new(const char *folder, bool ignore_syncs)
{
    disk *d = calloc(1, sizeof *d);
    if (!d) die("no memory");
    if (!realpath(folder, d->root)) die("%s: %s", folder, strerror(errno));
    d->ignore_syncs = ignore_syncs;
    return d;
}

void disk_free(disk *d)
{
    for (size_t i = 0; i <= FILES; i++) {
        free(d->files[i].base.p);
        free(d->files[i].changes);
    }
    free(d->names);
    free(d);
}

/* ---- content ---- */

static void resize(content *c, size_t n)
{
    if (n > c->room) {
        c->room = n + n / 2;
        c->p = realloc(c->p, c->room);
        if (!c->p) die("no memory for an image of %zu bytes", n);
    }
    if (n > c->n) memset(c->p + c->n, 0, n - c->n);
    c->n = n;
}

static void put(content *c, const char *p, uint64_t offset, size_t n)
{
    if (!n) return;
    if (offset + n > c->n) resize(c, offset + n);
    memcpy(c->p + offset, p, n);
}

static void apply(content *c, const fault_event *e)
{
    if (e->r.kind == FAULT_TRUNCATE)
        resize(c, e->r.offset);
    else
        put(c, e->bytes, e->r.offset, e->r.bytes);
}

/* Sectors of the file, not of the write: a write may begin in the middle of one. */
static void apply_sectors(content *c, const fault_event *e, rng *r)
{
    for (uint64_t at = e->r.offset, end = at + e->r.bytes; at < end;) {
        uint64_t next = (at / SECTOR + 1) * SECTOR;
        if (next > end) next = end;
        if (rng_next(r) & 1) put(c, e->bytes + (at - e->r.offset), at, next - at);
        at = next;
    }
}

static void apply_torn(content *c, const fault_event *e, rng *r)
{
    uint64_t first = e->r.offset / SECTOR, last = (e->r.offset + e->r.bytes - 1) / SECTOR;
    uint64_t cut = (first + 1 + rng_below(r, last - first + 1)) * SECTOR - e->r.offset;
    if (cut >= e->r.bytes) cut = rng_next(r) & 1 ? e->r.bytes : 0;
    if (rng_next(r) & 1)
        put(c, e->bytes, e->r.offset, cut);
    else
        put(c, e->bytes + cut, e->r.offset + cut, e->r.bytes - cut);
}

/* ---- events ---- */

static void fold(file *f)
{
    size_t done = 0;
    while (done < f->n && f->changes[done].fate == MUST)
        apply(&f->base, f->changes[done++].e);
    f->n -= done;
    memmove(f->changes, f->changes + done, f->n * sizeof *f->changes);
}

static void add(file *f, const fault_event *e, fate known)
{
    if (f->n == f->room) {
        f->room = f->room ? f->room * 2 : 64;
        f->changes = realloc(f->changes, f->room * sizeof *f->changes);
        if (!f->changes) die("no memory");
    }
    f->changes[f->n++] = (change){e, known};
}

static void name(disk *d, naming n)
{
    if (d->n_names == d->room_names) {
        d->room_names = d->room_names ? d->room_names * 2 : 16;
        d->names = realloc(d->names, d->room_names * sizeof *d->names);
        if (!d->names) die("no memory");
    }
    d->names[d->n_names++] = n;
}

static const char *below(const disk *d, const char *path, size_t *n)
{
    size_t root = strlen(d->root);
    if (*n < root || memcmp(path, d->root, root) != 0) die("%.*s is not below", (int)*n, path);
    size_t skip = *n == root ? root : root + 1;
    *n -= skip;
    return path + skip;
}

static void seen(disk *d, const fault_event *e)
{
    uint32_t number = e->r.file;
    if (number > FILES) die("more than %d files", FILES);
    d->files[number].seen = true;
    d->paths[number] = e;
    d->files[number].folder = e->r.folder;
    if (d->files[number].folder) return;
    naming n = {.file = number, .from = e->bytes, .from_n = e->r.bytes};
    n.from = below(d, n.from, &n.from_n);
    name(d, n);
}

static void renamed(disk *d, const fault_event *e)
{
    naming n = {.from = e->bytes, .from_n = strlen(e->bytes)};
    if (n.from_n + 1 < e->r.bytes) {
        n.to = e->bytes + n.from_n + 1;
        n.to_n = strlen(n.to);
        n.to = below(d, n.to, &n.to_n);
    }
    n.from = below(d, n.from, &n.from_n);
    if (e->r.offset && e->r.offset != RENAME_EXCHANGE) die("a rename with other flags");
    n.exchange = e->r.offset == RENAME_EXCHANGE;
    name(d, n);
}

static size_t folder_part(const char *p, size_t n)
{
    while (n && p[n - 1] != '/')
        n--;
    return n ? n - 1 : 0;
}

static bool in_folder(const char *p, size_t n, const char *folder, size_t folder_n)
{
    return folder_part(p, n) == folder_n && memcmp(p, folder, folder_n) == 0;
}

/* Names in this folder are settled, and with each all that happened before it. */
static void folder_synced(disk *d, uint32_t number)
{
    size_t n = d->paths[number]->r.bytes, last = 0;
    const char *path = below(d, d->paths[number]->bytes, &n);
    for (size_t i = 0; i < d->n_names; i++) {
        const naming *x = &d->names[i];
        if (in_folder(x->from, x->from_n, path, n) || (x->to && in_folder(x->to, x->to_n, path, n)))
            last = i + 1;
    }
    for (size_t i = 0; i < last; i++)
        d->names[i].settled = true;
}

static void synced(disk *d, const fault_event *e)
{
    file *f = &d->files[e->r.file];
    if (d->ignore_syncs) return;
    if (f->folder) {
        if (e->r.result == 0) folder_synced(d, e->r.file);
        return;
    }
    for (size_t i = 0; i < f->n; i++)
        if (f->changes[i].fate == MAYBE) f->changes[i].fate = e->r.result ? DOUBT : MUST;
    fold(f);
}

void disk_step(disk *d, const fault_event *e)
{
    if (e->r.file > FILES) die("more than %d files", FILES);
    file *f = &d->files[e->r.file];
    switch ((fault_kind)e->r.kind) {
    case FAULT_OPENED: seen(d, e); break;
    case FAULT_WRITE:
        add(f, e, e->r.result ? DOUBT : e->r.durable && !d->ignore_syncs ? MUST : MAYBE);
        fold(f);
        break;
    case FAULT_TRUNCATE: add(f, e, MAYBE); break;
    case FAULT_SYNC: synced(d, e); break;
    case FAULT_NAME: renamed(d, e); break;
    case FAULT_MSYNC: die("the log holds an msync: writes through a map are not recorded");
    case FAULT_ACK: break;
    default: die("the log holds a record of kind %u", e->r.kind);
    }
}

size_t disk_in_doubt(const disk *d)
{
    size_t n = 0;
    for (size_t i = 1; i <= FILES; i++)
        for (size_t j = 0; j < d->files[i].n; j++)
            n += d->files[i].changes[j].fate != MUST;
    for (size_t i = 0; i < d->n_names; i++)
        n += !d->names[i].settled;
    return n;
}

/* ---- images ---- */

static size_t find(const entry *all, size_t n, const char *path, size_t path_n)
{
    size_t i = 0;
    while (i < n && (all[i].path_n != path_n || memcmp(all[i].path, path, path_n) != 0))
        i++;
    return i;
}

/* The names that are there when the first `upto` namings have reached the disk. */
static size_t list(const disk *d, size_t upto, entry *all)
{
    size_t n = 0;
    for (size_t i = 0; i < upto; i++) {
        const naming *x = &d->names[i];
        size_t at = find(all, n, x->from, x->from_n);
        if (x->file) {
            all[n++] = (entry){x->from, x->from_n, x->file};
            continue;
        }
        if (at == n && !x->to) continue; /* removed without ever having been opened */
        if (at == n) die("%.*s is renamed and was never opened", (int)x->from_n, x->from);
        if (x->exchange) {
            size_t other = find(all, n, x->to, x->to_n);
            if (other == n) die("%.*s was never opened", (int)x->to_n, x->to);
            uint32_t one = all[at].file;
            all[at].file = all[other].file;
            all[other].file = one;
            continue;
        }
        entry moved = {x->to, x->to_n, all[at].file};
        all[at] = all[--n];
        if (!x->to) continue;
        at = find(all, n, x->to, x->to_n);
        if (at == n) n++;
        all[at] = moved;
    }
    return n;
}

static void one_change(content *c, const change *x, disk_mode mode, bool torn, rng *r)
{
    bool whole = x->fate == MUST || mode == DISK_ALL;
    if (!whole && mode == DISK_NONE) return;
    if (whole || x->e->r.kind == FAULT_TRUNCATE) {
        if (whole || (rng_next(r) & 1)) apply(c, x->e);
        return;
    }
    if (torn)
        apply_torn(c, x->e, r);
    else if (mode == DISK_SECTORS)
        apply_sectors(c, x->e, r);
    else if (rng_next(r) & 1)
        apply(c, x->e);
}

static void build(const file *f, const fault_event *next, disk_mode mode, rng *r, content *ret)
{
    resize(ret, 0);
    put(ret, f->base.p, 0, f->base.n);
    size_t torn =
        mode == DISK_TORN && f->n + (next != NULL) ? rng_below(r, f->n + (next != NULL)) : SIZE_MAX;
    for (size_t i = 0; i < f->n; i++)
        one_change(ret, &f->changes[i], mode, torn == i, r);
    if (next) one_change(ret, &(change){next, MAYBE}, mode, torn == f->n, r);
}

static void make_folders(char *path, size_t root)
{
    for (char *p = path + root + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        if (mkdir(path, 0700) && errno != EEXIST) die("%s: %s", path, strerror(errno));
        *p = '/';
    }
}

static void save(const char *folder, const entry *e, const content *c)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%.*s", folder, (int)e->path_n, e->path) >= PATH_MAX)
        die("%s: too long", folder);
    make_folders(path, strlen(folder));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) die("%s: %s", path, strerror(errno));
    for (size_t at = 0; at < c->n;) {
        ssize_t done = write(fd, c->p + at, c->n - at);
        if (done <= 0) die("%s: %s", path, strerror(errno));
        at += (size_t)done;
    }
    close(fd);
}

static size_t settled_names(const disk *d)
{
    size_t n = 0;
    while (n < d->n_names && d->names[n].settled)
        n++;
    return n;
}

void disk_image(const disk *d, const fault_event *next, disk_mode mode, rng *r, const char *folder)
{
    entry all[FILES];
    content c = {0};
    size_t settled = settled_names(d), open = d->n_names - settled;
    size_t upto = mode == DISK_NONE  ? settled
                  : mode == DISK_ALL ? d->n_names
                                     : settled + rng_below(r, open + 1);
    empty_folder(folder);
    make_folder(folder);
    if (next && next->r.kind != FAULT_WRITE && next->r.kind != FAULT_TRUNCATE) next = NULL;
    size_t n = list(d, upto, all);
    for (size_t i = 0; i < n; i++) {
        const file *f = &d->files[all[i].file];
        build(f, next && next->r.file == all[i].file ? next : NULL, mode, r, &c);
        save(folder, &all[i], &c);
    }
    free(c.p);
}

size_t disk_compare(const disk *d)
{
    entry all[FILES];
    content c = {0};
    size_t n = list(d, d->n_names, all);
    for (size_t i = 0; i < n; i++) {
        char path[PATH_MAX + 256];
        size_t real_n;
        build(&d->files[all[i].file], NULL, DISK_ALL, NULL, &c);
        snprintf(path, sizeof path, "%s/%.*s", d->root, (int)all[i].path_n, all[i].path);
        char *real = read_all(path, &real_n);
        /* What a lock file holds is written through a map and means nothing after a crash. */
        bool lock =
            all[i].path_n >= 8 && memcmp(all[i].path + all[i].path_n - 8, "lock.mdb", 8) == 0;
        if (real_n != c.n) die("%s has %zu bytes, replayed it has %zu", path, real_n, c.n);
        for (size_t at = 0; at < c.n && !lock; at++)
            if (real[at] != c.p[at]) die("%s differs from what was replayed at byte %zu", path, at);
        free(real);
    }
    free(c.p);
    return n;
}
