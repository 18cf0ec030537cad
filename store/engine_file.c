/*  engine_file.c - the layout of an LMDB data file (version 1, 64 bit) as far as it can be checked
 *  without reading the rows.
 *
 *  Pages 0 and 1 are meta pages. Commit N writes page N % 2, so the two always hold N and N - 1
 *  (or 0 and 0 before the first). Each names the roots of two trees, the free pages by commit and
 *  the main table, and the last page in use. The main table of a store holds tables and nothing
 *  else: their roots. Both trees are walked and have to be as their records say: pages with the
 *  right numbers, keys in order, as many of everything as was counted. A deep check does that with
 *  every table and sees to it that no page has two uses; what is left to go unnoticed lies within
 *  keys and values, and in bytes that nothing uses.
 *
 *  A number that was damaged into one of an older state is found out by the free pages: every
 *  commit from the second on frees a page, so their last key is N, and what an older state had for
 *  a root is free or something else by now.
 *
 *  The file may end before the last page when all pages behind its end are free: LMDB does not
 *  write pages that were taken and given back within one commit. */
#include "engine_file.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BRANCH = 0x01, LEAF = 0x02, OVERFLOW = 0x04, META = 0x08 }; /* flags of a page */
enum { BIG = 0x01, TABLE = 0x02 };                                 /* flags of a node */
enum { INTEGER_KEY = 0x08, NO_SUBDIR = 0x4000 };                   /* flags of the free list */
enum {
    DEPTH = 32,
    PAGE_LEAST = 512,
    PAGE_MOST = 65536,
    NUMBERS = 512, /* page numbers read at once */
    ROOTS = 1024,  /* more tables than a store can have */
    KEY_MOST = 511
};

#define MAGIC   0xBEEFC0DEu
#define NO_PAGE UINT64_MAX

typedef struct page_head {
    uint64_t number;
    uint16_t pad, flags, lower, upper; /* of an overflow page: the last two are its run's length */
} page_head;

typedef struct tree {
    uint32_t pad; /* of the free list: the page size */
    uint16_t flags, depth;
    uint64_t branches, leaves, overflows, entries, root;
} tree;

typedef struct meta {
    page_head head;
    uint32_t magic, version;
    uint64_t address, map_bytes;
    tree free, main;
    uint64_t last_page, txn;
} meta;

typedef struct node {
    uint16_t low, high, flags, key_bytes;
} node;

_Static_assert(sizeof(page_head) == 16 && sizeof(tree) == 48 && sizeof(meta) == 152 &&
                   sizeof(node) == 8,
               "as LMDB 0.9 lays it out on 64 bit machines");

typedef struct file file;

/* A node of a leaf: its key lies behind it, its value (or the number of the page that has it)
 * behind that, both within the page. */
typedef int leaf_fn(file *f, uint64_t page_at, const char *page, uint32_t offset, const node *n);

/* A walk through one tree, in the order of its keys. A branch's key comes between those of two
 * children: above all before it, and not above the next. */
typedef struct tour {
    leaf_fn *fn;
    bool numbers; /* keys are numbers, as in the free list */
    tree seen;    /* counted */
    char key[KEY_MOST];
    uint32_t key_n; /* 0: none yet */
    bool between;   /* the last key was a branch's */
} tour;

struct file {
    int fd;
    const char *path;
    sv_error *err;
    bool deep;
    uint64_t bytes;
    uint32_t page;
    uint64_t pages; /* whole ones that are there */
    meta now;       /* the newer meta page */
    tour *tour;
    uint64_t roots[ROOTS];
    uint32_t n_roots;
    uint8_t *used;                   /* deep: a bit for each page */
    uint64_t last_key, missing_free; /* of the free list */
};

static int refuse(const file *f, int code, const char *message)
{
    sv_fail(f->err, code, NULL, "%s", message);
    sv_error_detail(f->err, "%s, %llu bytes", f->path, (unsigned long long)f->bytes);
    return code;
}

static int damaged(const file *f)
{
    return refuse(f, SV_E_STORE_DAMAGED,
                  "The store's file data.mdb is damaged: restore it from a backup.");
}

static int too_short(const file *f)
{
    return refuse(f, SV_E_STORE_DAMAGED,
                  "The store's file data.mdb is shorter than what it says it holds: restore it "
                  "from a backup.");
}

static int foreign(const file *f)
{
    return refuse(f, SV_E_STORE_FOREIGN, "data.mdb is another program's LMDB file.");
}

static int read_at(const file *f, void *to, size_t n, uint64_t at)
{
    char *p = to;
    while (n > 0) {
        ssize_t got = at > INT64_MAX - n ? 0 : pread(f->fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            sv_fail(f->err, SV_E_STORE_IO, NULL, NULL);
            sv_error_detail(f->err, "reading %s: %s", f->path, strerror(errno));
            return SV_E_STORE_IO;
        }
        if (got == 0)
            return refuse(
                f, SV_E_STORE_DAMAGED,
                "The store's file data.mdb is shorter than what it says it holds: restore "
                "it from a backup.");
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

/* ---- meta pages ---- */

static bool is_lmdb(const meta *m)
{
    return m->magic == MAGIC && (m->head.flags & META);
}

/* With its first page damaged the file is still ours if the second is whole. */
static int no_first_meta(file *f)
{
    meta second;
    uint64_t at = (uint64_t)sysconf(_SC_PAGESIZE);
    if (f->bytes >= at + sizeof second && read_at(f, &second, sizeof second, at) == 0 &&
        is_lmdb(&second))
        return damaged(f);
    return refuse(f, SV_E_STORE_FOREIGN, "data.mdb is not an LMDB file.");
}

/* Both meta pages; which one counts, and does it go with the other? */
static int read_metas(file *f)
{
    meta m[2];
    if (f->bytes == 0)
        return refuse(f, SV_E_STORE_DAMAGED,
                      "The store's file data.mdb is empty: restore it from a backup, or remove it "
                      "to begin with nothing.");
    if (f->bytes < sizeof m[0])
        return refuse(f, SV_E_STORE_FOREIGN, "data.mdb is not an LMDB file.");
    int rc = read_at(f, &m[0], sizeof m[0], 0);
    if (rc != 0) return rc;
    if (!is_lmdb(&m[0])) return no_first_meta(f);
    if (m[0].version != 1)
        return refuse(f, SV_E_STORE_FOREIGN, "data.mdb is of an LMDB version that is not known.");
    f->page = m[0].free.pad;
    if (f->page < PAGE_LEAST || f->page > PAGE_MOST || (f->page & (f->page - 1)) != 0)
        return damaged(f);
    rc = read_at(f, &m[1], sizeof m[1], f->page);
    if (rc != 0) return rc;
    bool alike = is_lmdb(&m[1]) && m[1].version == 1 && m[1].free.pad == f->page &&
                 m[0].head.number == 0 && m[1].head.number == 1;
    bool second = m[1].txn > m[0].txn;
    f->now = m[second];
    uint64_t older = m[!second].txn;
    bool first = f->now.txn == 0 && older == 0;
    bool in_turn = f->now.txn % 2 == second && f->now.txn - older == 1;
    if (!alike || (!first && !in_turn)) return damaged(f);
    f->pages = f->bytes / f->page;
    /* Pages that are not there are listed as free, in 8 bytes each. */
    uint64_t most = f->pages + f->bytes / sizeof(uint64_t);
    if (f->now.last_page < 1 || f->now.last_page >= most) return damaged(f);
    if ((f->now.free.flags & ~NO_SUBDIR) != INTEGER_KEY) return damaged(f);
    return f->now.main.flags == 0 ? 0 : foreign(f);
}

/* ---- trees ---- */

static bool is_page(const file *f, uint64_t number)
{
    return number >= 2 && number <= f->now.last_page;
}

/* Notes the use of `n` pages; false when one of them has another already. */
static bool use_pages(file *f, uint64_t first, uint64_t n)
{
    if (n > f->now.last_page || !is_page(f, first) || !is_page(f, first + n - 1)) return false;
    for (uint64_t i = first; f->used && i < first + n; i++) {
        uint8_t bit = (uint8_t)(1u << i % 8);
        if (f->used[i / 8] & bit) return false;
        f->used[i / 8] |= bit;
    }
    return true;
}

/* Reads a page of a tree and checks its head. */
static int read_page(file *f, uint64_t number, bool leaf, char *to)
{
    if (!use_pages(f, number, 1)) return damaged(f);
    int rc = read_at(f, to, f->page, number * f->page);
    if (rc != 0) return rc;
    page_head h;
    memcpy(&h, to, sizeof h);
    bool whole = h.number == number && h.flags == (leaf ? LEAF : BRANCH) && h.lower % 2 == 0 &&
                 h.lower > sizeof h && h.lower <= h.upper && h.upper <= f->page;
    return whole ? 0 : damaged(f);
}

static uint64_t value_bytes(const node *n)
{
    return n->low | (uint32_t)n->high << 16;
}

/* The node at `index` of a page. *room grows by what it takes. */
static int get_node(file *f, const char *page, uint32_t index, bool leaf, node *ret, uint32_t *at,
                    uint64_t *room)
{
    uint16_t offset;
    page_head h;
    memcpy(&h, page, sizeof h);
    memcpy(&offset, page + sizeof h + index * sizeof offset, sizeof offset);
    if (offset < h.upper || offset + sizeof *ret > f->page) return damaged(f);
    memcpy(ret, page + offset, sizeof *ret);
    uint64_t n = sizeof *ret + ret->key_bytes;
    if (leaf) n += (ret->flags & BIG) ? sizeof(uint64_t) : value_bytes(ret);
    *at = offset;
    *room += (n + 1) / 2 * 2;
    return offset + n <= f->page ? 0 : damaged(f);
}

static int compare_keys(const tour *t, const char *key, uint32_t n)
{
    if (t->numbers) {
        uint64_t a, b;
        memcpy(&a, key, sizeof a);
        memcpy(&b, t->key, sizeof b);
        return (a > b) - (a < b);
    }
    int c = memcmp(key, t->key, n < t->key_n ? n : t->key_n);
    return c ? c : (n > t->key_n) - (n < t->key_n);
}

/* The next key in order: a leaf's, or one between two children of a branch. */
static int next_key(file *f, const char *key, uint32_t n, bool leaf)
{
    tour *t = f->tour;
    if (n == 0 || n > KEY_MOST || (t->numbers && n != sizeof(uint64_t))) return damaged(f);
    int c = t->key_n ? compare_keys(t, key, n) : 1;
    if (c < 0 || (c == 0 && !(leaf && t->between))) return damaged(f);
    memcpy(t->key, key, n);
    t->key_n = n;
    t->between = !leaf;
    return 0;
}

static int walk(file *f, uint64_t number, uint32_t depth);

static int walk_node(file *f, uint64_t number, uint32_t depth, const char *page, uint32_t index,
                     uint64_t *room)
{
    node n;
    uint32_t at = 0;
    bool leaf = depth == 1;
    int rc = get_node(f, page, index, leaf, &n, &at, room);
    /* The first key of a branch stands for nothing. */
    if (rc == 0 && (leaf || index > 0)) rc = next_key(f, page + at + sizeof n, n.key_bytes, leaf);
    if (rc != 0) return rc;
    if (leaf) return f->tour->fn(f, number * f->page, page, at, &n);
    return walk(f, n.low | (uint64_t)n.high << 16 | (uint64_t)n.flags << 32, depth - 1);
}

static int walk(file *f, uint64_t number, uint32_t depth)
{
    tree *seen = &f->tour->seen;
    bool leaf = depth == 1;
    if (seen->branches + seen->leaves > f->now.last_page) return damaged(f);
    char *page = malloc(f->page);
    if (page == NULL) return sv_fail(f->err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = read_page(f, number, leaf, page);
    page_head h;
    memcpy(&h, page, sizeof h);
    uint32_t keys = rc == 0 ? (h.lower - (uint32_t)sizeof h) / 2 : 0;
    *(leaf ? &seen->leaves : &seen->branches) += 1;
    if (leaf) seen->entries += keys;
    uint64_t room = 0;
    for (uint32_t i = 0; rc == 0 && i < keys; i++)
        rc = walk_node(f, number, depth, page, i, &room);
    free(page);
    if (rc == 0 && room != (uint64_t)f->page - h.upper) rc = damaged(f);
    return rc;
}

static bool is_tree(const tree *t)
{
    return t->depth <= DEPTH && (t->depth == 0) == (t->root == NO_PAGE);
}

static int check_tree(file *f, const tree *t, leaf_fn *fn, bool numbers)
{
    if (!is_tree(t)) return damaged(f);
    tour *outer = f->tour, own;
    own = (tour){.fn = fn, .numbers = numbers};
    own.seen = (tree){.pad = t->pad, .flags = t->flags, .depth = t->depth, .root = t->root};
    f->tour = &own;
    int rc = t->depth ? walk(f, t->root, t->depth) : 0;
    f->tour = outer;
    if (rc != 0) return rc;
    return memcmp(&own.seen, t, sizeof *t) == 0 ? 0 : damaged(f);
}

/* The run of pages that has a value; where the value begins. */
static int check_run(file *f, const char *number_at, const node *n, uint64_t *ret_at)
{
    uint64_t big;
    page_head h;
    memcpy(&big, number_at, sizeof big);
    if (!is_page(f, big)) return damaged(f);
    int rc = read_at(f, &h, sizeof h, big * f->page);
    if (rc != 0) return rc;
    uint64_t run = h.lower | (uint32_t)h.upper << 16;
    if (h.number != big || h.flags != OVERFLOW || sizeof h + value_bytes(n) > run * f->page ||
        !use_pages(f, big, run))
        return damaged(f);
    f->tour->seen.overflows += run;
    *ret_at = big * f->page + sizeof h;
    return 0;
}

/* ---- the main table ---- */

static int add_root(file *f, uint64_t root)
{
    if (root == NO_PAGE) return 0;
    if (f->n_roots == ROOTS) return foreign(f);
    f->roots[f->n_roots++] = root;
    return 0;
}

static int check_row(file *f, uint64_t page_at, const char *page, uint32_t offset, const node *n)
{
    (void)page_at;
    uint64_t at;
    if ((n->flags & ~BIG) != 0) return damaged(f);
    if (!(n->flags & BIG)) return 0;
    return check_run(f, page + offset + sizeof *n + n->key_bytes, n, &at);
}

static int check_table(file *f, uint64_t page_at, const char *page, uint32_t offset, const node *n)
{
    (void)page_at;
    tree t;
    page_head h;
    if (n->flags != TABLE || value_bytes(n) != sizeof t) return foreign(f);
    memcpy(&t, page + offset + sizeof *n + n->key_bytes, sizeof t);
    if (t.flags != 0) return foreign(f);
    int rc = add_root(f, t.root);
    if (rc != 0) return rc;
    if (f->deep) return check_tree(f, &t, check_row, false);
    if (!is_tree(&t)) return damaged(f);
    if (t.depth == 0) return 0;
    if (!is_page(f, t.root)) return damaged(f);
    rc = read_at(f, &h, sizeof h, t.root * f->page);
    if (rc != 0) return rc;
    return h.number == t.root && h.flags == (t.depth == 1 ? LEAF : BRANCH) ? 0 : damaged(f);
}

/* ---- the free list ---- */

static int compare_pages(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int check_free_page(file *f, uint64_t number)
{
    if (!use_pages(f, number, 1)) return damaged(f);
    if (bsearch(&number, f->roots, f->n_roots, sizeof number, compare_pages)) return damaged(f);
    f->missing_free += number >= f->pages;
    return 0;
}

/* One list of free pages: how many, and their numbers. */
static int check_free_pages(file *f, uint64_t at, uint64_t bytes)
{
    uint64_t n, numbers[NUMBERS];
    if (bytes < sizeof n) return damaged(f);
    int rc = read_at(f, &n, sizeof n, at);
    if (rc == 0 && n > bytes / sizeof n - 1) rc = damaged(f);
    for (uint64_t done = 0; rc == 0 && done < n;) {
        uint64_t some = n - done < NUMBERS ? n - done : NUMBERS;
        rc = read_at(f, numbers, some * sizeof n, at + (1 + done) * sizeof n);
        for (uint64_t i = 0; rc == 0 && i < some; i++)
            rc = check_free_page(f, numbers[i]);
        done += some;
    }
    return rc;
}

static int check_freed(file *f, uint64_t page_at, const char *page, uint32_t offset, const node *n)
{
    if ((n->flags & ~BIG) != 0) return damaged(f);
    memcpy(&f->last_key, page + offset + sizeof *n, sizeof f->last_key);
    uint32_t value = offset + (uint32_t)sizeof *n + n->key_bytes;
    uint64_t at = page_at + value;
    int rc = (n->flags & BIG) ? check_run(f, page + value, n, &at) : 0;
    return rc ? rc : check_free_pages(f, at, value_bytes(n));
}

/* ---- all of it ---- */

static int check_trees(file *f)
{
    const meta *m = &f->now;
    if (f->deep && (f->used = calloc(1, m->last_page / 8 + 1)) == NULL)
        return sv_fail(f->err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = check_tree(f, &m->main, check_table, false);
    if (rc == 0) rc = add_root(f, m->main.root);
    if (rc == 0) rc = add_root(f, m->free.root);
    if (rc != 0) return rc;
    qsort(f->roots, f->n_roots, sizeof f->roots[0], compare_pages);
    rc = check_tree(f, &m->free, check_freed, true);
    if (rc != 0) return rc;
    if (m->free.root == NO_PAGE ? m->txn > 1 : f->last_key != m->txn) return damaged(f);
    uint64_t missing = m->last_page >= f->pages ? m->last_page + 1 - f->pages : 0;
    return f->missing_free == missing ? 0 : too_short(f);
}

static int check(file *f, engine_file *ret)
{
    int rc = read_metas(f);
    if (rc == 0) rc = check_trees(f);
    free(f->used);
    if (rc != 0) return rc;
    *ret = (engine_file){
        .bytes = f->bytes, .map_bytes = (f->now.last_page + 1) * f->page, .page_bytes = f->page};
    return 0;
}

int engine_file_check(const char *path, bool deep, engine_file *ret, sv_error *err)
{
    file f = {.path = path, .err = err, .deep = deep};
    struct stat st;
    f.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f.fd < 0 && errno == ENOENT) return SV_E_NOT_FOUND;
    if (f.fd < 0 || fstat(f.fd, &st) != 0) {
        sv_fail(err, SV_E_STORE_IO, NULL, "The store's file data.mdb cannot be read: %s.",
                strerror(errno));
        sv_error_detail(err, "%s", path);
        if (f.fd >= 0) close(f.fd);
        return SV_E_STORE_IO;
    }
    f.bytes = (uint64_t)st.st_size;
    int rc = S_ISREG(st.st_mode) ? check(&f, ret)
                                 : refuse(&f, SV_E_STORE_FOREIGN, "data.mdb is not a file.");
    close(f.fd);
    return rc;
}
