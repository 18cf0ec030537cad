/*  engine_file.h - inside of store/: looks at LMDB's data file with plain reads, before it is
 *  mapped. LMDB trusts what it maps: a page number behind the file's end is SIGBUS, a wrong page is
 *  an abort. What the meta pages, the tables' roots and the list of free pages tell is checked here
 *  before, and on demand all the rest of the structure. Nothing may write to the file meanwhile.
 *  Thread: any.   Memory: a page for each level of a tree; deep: a bit for each page.
 *  Errors: SV_E_NOT_FOUND (no such file), SV_E_STORE_FOREIGN, SV_E_STORE_DAMAGED, SV_E_STORE_IO,
 *  SV_E_NO_MEMORY. */
#ifndef STORE_ENGINE_FILE_H
#define STORE_ENGINE_FILE_H

#include "sv_types.h"

typedef struct engine_file {
    uint64_t bytes;     /* of the file */
    uint64_t map_bytes; /* that have to be mapped: up to the last page, even when it was never
                           written */
    uint32_t page_bytes;
} engine_file;

/* `deep` also walks through every table: it reads all of the file but its values, and what passes
 * cannot make LMDB crash. */
int engine_file_check(const char *path, bool deep, engine_file *ret, sv_error *err);

#endif
