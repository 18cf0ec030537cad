/*  static.h - a folder of files for browsers, taken in at start and never looked into again: what is
 *  served is what was there then, under exactly the names found, so that no path of a request can
 *  lead elsewhere. Links are not followed and names that begin with a dot are left out.
 *
 *  X.br and X.gz beside X are X in these codings. Small files are kept in memory; of large ones the
 *  descriptor is kept, and their bytes are read when they are asked for: the system's page cache has
 *  them once for all processes, and a file that is replaced (not rewritten) stays readable.
 *
 *  Entity tags are strong: from the SHA-256 of the bytes as sent. NAME.HASH.EXT, where HASH begins
 *  the SHA-256 of the file, may be kept by browsers for good; all else they ask for again each time.
 *
 *  Thread: any; constant after static_open.
 *  Ownership: the set owns its files; what static_choose returns borrows from them.
 *  Limits: STATIC_FILES files, STATIC_FILE_BYTES each, STATIC_DEPTH folders deep, of which files up to
 *  STATIC_KEPT_BYTES are kept in memory.
 *  Errors: SV_E_NOT_FOUND when there is no such folder, SV_E_CONFIG naming what is beyond a limit,
 *  SV_E_IO, SV_E_NO_MEMORY. */
#ifndef EDGE_STATIC_H
#define EDGE_STATIC_H

#include "compress.h"

enum {
    STATIC_FILES = 256,
    STATIC_FILE_BYTES = 16 << 20,
    STATIC_KEPT_BYTES = 64 << 10,
    STATIC_DEPTH = 4,
    STATIC_HASH_LEAST = 12, /* digits of a HASH */
    STATIC_DATE = 30
};

/* A file in one coding. */
typedef struct static_form {
    bool there;
    uint32_t n;
    char *bytes; /* NULL: in fd */
    int fd;
    char etag[36]; /* with its quotes */
} static_form;

typedef struct static_file {
    char *name;       /* below the folder: "assets/ui.js" */
    const char *type; /* Content-Type */
    bool page;        /* a browser may run it: needs the headers of a page */
    bool immutable;
    int64_t modified_s;
    char modified[STATIC_DATE]; /* Last-Modified */
    static_form forms[CODINGS];
} static_file;

typedef struct static_set static_set;

int static_open(const char *folder, static_set **ret, sv_error *err);
/* NULL is allowed. */
void static_free(static_set *s);
/* The file for a request's path, raw as sent: /x is x or x.html. NULL: none. */
const static_file *static_find(const static_set *s, sv_str path);

/* A file from bytes of this process, taken on success, in all codings: `f` belongs to the caller, who
 * frees it with static_file_free. */
int static_file_make(static_file *f, const char *type, int64_t modified_s, buf *bytes);
void static_file_free(static_file *f);

typedef struct static_answer {
    int status; /* 200, 206, 304 or 416 */
    coding how;
    uint32_t from, n; /* bytes of the form; none for 304 and 416 */
} static_answer;

/* What a GET or HEAD for the file comes to: coding, conditions, one range. */
void static_choose(const static_file *f, const http_request *r, static_answer *ret);
/* Bytes of a form that is not kept in memory; fewer than asked for only when the file has been cut: 0
 * when nothing is there. */
uint32_t static_read(const static_form *f, uint32_t at, char *to, uint32_t n);
/* ../share/samovar/web from the folder of this executable. */
bool static_beside_bin(char *path, size_t size);

#endif
