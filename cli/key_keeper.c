/*  key_keeper.c - the file is read again when it is another one than before; one that is gone, such as
 *  a key on a medium that was taken out, changes nothing. */
#include "key_keeper.h"

#include "error.h"
#include "log.h"
#include "root_key.h"
#include "root_key_file.h"

static void look(const char *path, struct stat *to)
{
    if (stat(path, to)) *to = (struct stat){.st_ino = 0};
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int key_keeper_open(key_keeper *k, const config *c, sv_error *err)
{
    root_key_source source;
    seal_key *next = NULL;
    *k = (key_keeper){.config = c};
    if (root_key_where(c, &source, NULL) == 0) look(source.path, &k->seen);
    int rc = root_key_get(c, &k->key, &next, err);
    seal_key_free(next);
    return rc;
}

void key_keeper_close(key_keeper *k)
{
    seal_key_free(k->key);
    k->key = NULL;
}

static void read_again(key_keeper *k)
{
    root_key_source source;
    struct stat now;
    seal_key *key = NULL;
    sv_error why = {.code = 0};
    if (root_key_where(k->config, &source, NULL)) return;
    look(source.path, &now);
    if (now.st_ino == 0 || same(&now, &k->seen)) return;
    if (root_key_load(&source, source.path, &key, &why)) {
        log_write(LOG_WARN, "the root key cannot be read again", LOG_ERR(&why));
        return;
    }
    seal_key_free(k->key);
    k->key = key;
    k->seen = now;
}

int key_keeper_fd(key_keeper *k, int *ret_fd, sv_error *err)
{
    read_again(k);
    return root_key_to_fd(k->key, ret_fd, err);
}
