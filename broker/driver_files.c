/*  driver_files.c - keys and policy on disk, read at start, on SIGHUP and when they changed.
 *
 *  A policy is read again only when the file looked the same twice, a second apart: an editor that
 *  writes in place is not caught halfway, where a cut policy could parse and mean something else.
 *  The key folder's time stamp has the coarse tick of the file system: a folder that changed less
 *  than two seconds before it was read is read once more. */
#include "driver_state.h"

#include "error.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static file_state look(const char *path)
{
    struct stat st;
    if (path == NULL || stat(path, &st)) return (file_state){0};
    return (file_state){.mtime = st.st_mtim, .inode = st.st_ino, .size = st.st_size};
}

static bool same(const file_state *a, const file_state *b)
{
    return a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
           a->inode == b->inode && a->size == b->size;
}

/* ---- keys ---- */

static int make_own_key(const char *path, keyfile *ret, sv_error *err)
{
    char public_key[KEYFILE_Z85 + 1], secret[KEYFILE_Z85 + 1];
    if (zmq_curve_keypair(public_key, secret))
        return sv_fail(err, SV_E_IO, NULL, "libzmq makes no CURVE keys: %s.", zmq_strerror(errno));
    int rc = keyfile_new("broker", public_key, secret, ret, err);
    explicit_bzero(secret, sizeof secret);
    return rc ? rc : keyfile_write(ret, path, true, err);
}

int driver_key_own(driver *d, char secret[KEYFILE_Z85 + 1], sv_error *err)
{
    char path[4096];
    keyfile k = {0};
    sv_error e = {0};
    snprintf(path, sizeof path, "%s/broker.key", d->keys_folder);
    int rc = keyfile_read(path, &k, &e);
    if (rc == SV_E_NOT_FOUND) {
        e = (sv_error){0};
        rc = make_own_key(path, &k, &e);
        if (rc == SV_E_CONFLICT) { /* another broker of this data folder was faster */
            e = (sv_error){0};
            rc = keyfile_read(path, &k, &e);
        }
    }
    if (rc == 0 && k.secret[0] == 0)
        rc = sv_fail(&e, SV_E_CONFIG, "secret", "%.180s holds no secret key.", path);
    if (rc == 0) {
        strcpy(d->public_key, k.public_key);
        strcpy(secret, k.secret);
    } else if (err) {
        *err = e;
    }
    keyfile_clear(&k);
    return rc;
}

/* A key that is admitted no more takes its connections along. */
static void revoke(driver *d)
{
    conn_list *lists[] = {&d->conns.known, &d->conns.strangers};
    for (int i = 0; i < 2; i++) {
        for (conn *c = lists[i]->first; c; c = c->next) {
            if (c->key[0] == 0 || c->gone || zap_admits(d->zap, c->key, c->who.service)) continue;
            uint8_t rid[5];
            driver_rid(c, rid);
            driver_goodbye(d, &d->ports[c->port], (sv_str){(const char *)rid, sizeof rid},
                           SV_E_IDENTITY, "The key of this connection is not admitted any more.");
            log_write(LOG_WARN, "key revoked: connection ended", LOG_STR("name", c->who.service));
            driver_gone(d, c);
        }
    }
}

int driver_keys_load(driver *d, sv_error *err)
{
    uint32_t n = 0;
    d->keys_seen = look(d->keys_folder);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    d->keys_settled = now.tv_sec - d->keys_seen.mtime.tv_sec > 1;
    int rc = zap_load(d->zap, d->keys_folder, &n, err);
    if (rc == 0)
        revoke(d);
    else
        d->keys_settled = false; /* again in a second */
    return rc;
}

/* ---- policy ---- */

int driver_policy_load(driver *d, policy **ret, sv_error *err)
{
    d->policy_loaded = d->policy_seen = look(d->policy_file);
    policy *p = NULL;
    sv_error e = {0};
    int rc = policy_load(d->policy_file, &d->defaults, &p, &e);
    if (rc == SV_E_NOT_FOUND && !d->policy_required) {
        p = policy_default(&d->defaults);
        rc = p ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    } else if (rc && err) {
        *err = e;
        err->code = rc == SV_E_NOT_FOUND ? SV_E_CONFIG : rc;
        rc = err->code;
    }
    if (rc == 0) *ret = p;
    return rc;
}

int driver_policy_reload(void *arg, sv_error *err)
{
    driver *d = arg;
    policy *p = NULL;
    sv_error e = {0};
    int rc = driver_policy_load(d, &p, &e);
    if (rc) {
        log_write(LOG_ERROR, "policy not changed: the file is not valid", LOG_ERR(&e));
        if (err) *err = e;
        return rc;
    }
    policy_unref(d->next_policy);
    d->next_policy = p; /* becomes CORE_POLICY before this turn is over */
    log_write(LOG_INFO, "policy loaded",
              LOG_STR("file", d->policy_loaded.inode ? d->policy_file : "built-in"));
    return 0;
}

/* ---- once a second ---- */

void driver_files_watch(driver *d)
{
    file_state keys = look(d->keys_folder), seen = look(d->policy_file);
    sv_error e = {0};
    if ((!d->keys_settled || !same(&keys, &d->keys_seen)) && driver_keys_load(d, &e))
        log_write(LOG_ERROR, "keys not read", LOG_ERR(&e));
    bool settled = same(&seen, &d->policy_seen);
    d->policy_seen = seen;
    if (settled && !same(&seen, &d->policy_loaded)) driver_policy_reload(d, NULL);
}
