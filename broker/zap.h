/*  zap.h - decides who may connect (ZeroMQ RFC 27), on a thread of its own, bound first of all.
 *
 *  NULL over ipc (domain ZAP_DOMAIN): the kernel's word (SO_PEERCRED) must name our own user; the
 *  User-Id is "pid:N". CURVE (domain ZAP_DOMAIN): the public key must be in the table; the User-Id
 *  is "key:NAME", the metadata Samovar-Key holds the key in Z85 and, over ipc, Samovar-Pid the
 *  process. NULL over tcp: only in the domain ZAP_DOMAIN_NULL and from a loopback address; the
 *  User-Id is "none". Everything else, a request of the wrong shape included, is refused with 400.
 *  Sockets are made with ZAP_ENFORCE_DOMAIN (zap_protect): if this thread ends, nobody gets in.
 *
 *  Thread: zap_start, zap_stop and the key table from the broker's loop; the handler has its own.
 *  Ownership: the table owns its entries; a reload swaps the whole table.
 *  Limits: ZAP_KEYS keys; constant work a request.
 *  Errors: SV_E_IO when the handler cannot start; a bad key file is logged and left out. */
#ifndef SV_ZAP_H
#define SV_ZAP_H

#include "keyfile.h"
#include "sv_types.h"

#include <sys/types.h>

#define ZAP_DOMAIN      "samovar"
#define ZAP_DOMAIN_NULL "samovar-null"
#define ZAP_META_KEY    "Samovar-Key"
#define ZAP_META_PID    "Samovar-Pid"

enum { ZAP_KEYS = 4096, ZAP_USER_ID = 64 };

typedef struct zap zap;

typedef struct zap_stats {
    uint64_t admitted, refused, malformed;
} zap_stats;

/* `zmq_context` is the context whose sockets are guarded; `uid` the only user admitted over ipc. */
int zap_start(void *zmq_context, uid_t uid, zap **ret, sv_error *err);
/* Call after every guarded socket is closed. NULL is allowed. */
void zap_stop(zap *z);

/* Builds a new table from every *.pub file in `folder` and swaps it in; *n (may be NULL) is how
 * many keys it holds. A missing folder is an empty table; a file that is wrong is left out. SV_E_IO
 * (a file that cannot be read now) and SV_E_NO_MEMORY leave the old table. */
int zap_load(zap *z, const char *folder, uint32_t *n, sv_error *err);
/* One more key until the next zap_load; for the start-up probe. SV_E_TOO_LARGE, SV_E_CONFLICT. */
int zap_admit(zap *z, const keyfile *k);
/* True when this key is admitted under this name now. */
bool zap_admits(zap *z, const char *public_key, const char *name);
zap_stats zap_get_stats(const zap *z);
/* While on, refusals are counted but not logged: the start-up probe refuses itself on purpose. */
void zap_quiet(zap *z, bool on);

/* One request as it came, without routing id and delimiter, and the answer. Pure, for the handler
 * and its tests: every frame is hostile. */
typedef struct zap_request {
    sv_str frames[16];
    uint32_t n; /* may be larger than 16: then it is refused */
} zap_request;

typedef struct zap_reply {
    const char *status, *text; /* "200" or "400" */
    bool malformed;
    char user_id[ZAP_USER_ID];
    uint8_t metadata[128]; /* ZMTP properties */
    uint32_t metadata_n;
} zap_reply;
void zap_decide(zap *z, const zap_request *q, zap_reply *ret);

/* What every guarded socket gets before bind: the domain, and that it is enforced. 0 or SV_E_IO. */
int zap_protect(void *socket, const char *domain);

#endif
