/*  files_store.h - the files that the workspace keeps, and the store functions that read and change
 *  them.
 *
 *  A file is a row whose blob is its bytes. It begins with its size: that much is reserved in the
 *  same transaction, for its user and its organization, and given back in the one that takes the row
 *  away. Until it is finished only its user can append to it, nobody sees it, and after
 *  FILE_UNFINISHED_MS it does not exist. Rows of another organization do not exist either.
 *
 *  Invariant: a usage row is the sum over the file rows of its organization or user.
 *
 *  Thread: store_fns where the store runs them; the rest any.   Ownership: inputs are borrowed; text
 *  in results is copied, lists live in the arena of the store_op.   Limits: FILES_*.
 *  Errors: those of the store; SV_E_NOT_FOUND, SV_E_ROLE, SV_E_CONFLICT, SV_E_QUOTA whose field is
 *  the setting that is used up. */
#ifndef WORKSPACE_FILES_STORE_H
#define WORKSPACE_FILES_STORE_H

#include "file_name.h"
#include "store.h"

#define SV_MESSAGES_FILE "rows.def"
#include "message_structs.h"
#undef SV_MESSAGES_FILE

enum {
    FILE_ID = 36,
    FILE_SUM = 64,
    FILE_APPEND_BYTES = 1 << 20, /* most of one write */
    FILE_UNFINISHED_MS = 3600 * 1000,
    FILES_FINISH = 8, /* most of one request */
    FILES_PAGE = 100,
    FILES_EXPIRE = 64 /* rows given up in one write */
};

extern const sv_message file_row_msg, usage_row_msg;
extern const store_table workspace_files, workspace_usage;
extern const store_schema workspace_schema;

/* Who asks: of a verified ticket. */
typedef struct file_who {
    char org[FILE_ID + 1], user[FILE_ID + 1];
    bool writes; /* may have files */
    bool admin;  /* may delete those of others */
} file_who;

typedef struct file {
    char id[FILE_ID + 1], user[FILE_ID + 1], name[FILE_NAME + 1], type[FILE_TYPE + 1];
    char sha256[FILE_SUM + 1]; /* empty: not finished */
    int64_t size, created, expires;
    uint64_t received;
} file;

/* The message's struct; text is borrowed. */
workspace_file_info file_show(const file *f);

/* ---- writes ---- */

typedef struct file_limits {
    int64_t user_bytes, org_bytes, org_files;
} file_limits;

typedef struct file_begin_in {
    const file_who *who;
    const file_limits *limits;
    char id[FILE_ID + 1], name[FILE_NAME + 1], type[FILE_TYPE + 1];
    int64_t size;
} file_begin_in;
/* in: file_begin_in, out: int64_t, when it expires. */
int file_begin(store_tx *tx, const void *in, void *out);

typedef struct file_append_in {
    const file_who *who;
    sv_str id;
    uint64_t offset;
    sv_str bytes;
} file_append_in;
/* in: file_append_in, out: uint64_t, bytes received. What lies before the bytes that are there is
 * passed over. SV_E_CONFLICT when bytes before the offset are missing, SV_E_OUT_OF_RANGE beyond the
 * size. */
int file_append(store_tx *tx, const void *in, void *out);

typedef struct file_finish_in {
    const file_who *who;
    const workspace_file_sum *sums; /* compared with the bytes before */
    uint32_t n;
} file_finish_in;
typedef struct file_finish_result {
    file files[FILES_FINISH];
    bool fresh[FILES_FINISH]; /* by this write; others were finished before */
} file_finish_result;
/* in: file_finish_in, out: file_finish_result. All or none. */
int file_finish(store_tx *tx, const void *in, void *out);

typedef struct file_drop_in {
    const file_who *who;
    const sv_strs *ids;
} file_drop_in;
/* in: file_drop_in, out: int64_t, how many were given up. */
int file_drop(store_tx *tx, const void *in, void *out);

typedef struct file_one {
    const file_who *who;
    sv_str id;
} file_one;
/* in: file_one, out: file. */
int file_delete(store_tx *tx, const void *in, void *out);
/* in: NULL, out: int64_t, how many were given up; FILES_EXPIRE: there may be more. */
int files_expire(store_tx *tx, const void *in, void *out);

/* ---- reads ---- */

/* in: file_one, out: file; one that is finished. */
int file_look(store_tx *tx, const void *in, void *out);
/* in: file_one, out: file; also one of the caller's that is not finished. */
int file_look_own(store_tx *tx, const void *in, void *out);

typedef struct file_piece {
    const file_who *who;
    sv_str id;
    bool own; /* as file_look_own */
    uint64_t offset;
    size_t n; /* bytes wanted */
    char *to;
    size_t got; /* 0: the end */
} file_piece;
/* in = out: file_piece. */
int file_read_piece(store_tx *tx, const void *in, void *out);

typedef struct file_page_in {
    const file_who *who;
    sv_str after;
    uint32_t limit; /* at most FILES_PAGE */
} file_page_in;
typedef struct file_page {
    file *files; /* in the arena */
    uint32_t n;
    bool more;
} file_page;
/* in: file_page_in, out: file_page. */
int files_page(store_tx *tx, const void *in, void *out);

/* in: NULL, out: bool, is there anything for files_expire? */
int files_expired(store_tx *tx, const void *in, void *out);

#endif
