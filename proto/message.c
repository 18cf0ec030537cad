/*  message.c - a table-driven decoder and encoder over msgpack-c.
 *
 *  The bytes are skimmed first, so msgpack-c only ever sees well-formed, bounded input; its object
 *  tree lives in a zone that each thread keeps and clears. */
#include "message.h"

#include "error.h"
#include "seal.h"
#include "sv_limits.h"
#include "skim.h"

#include <msgpack.h>
#include <pthread.h>
#include <stdio.h>

#define SV_MESSAGES_FILE "messages.def"
#include "message_tables.h"

static const sv_message *const all[] = {
#define MESSAGE_BEGIN(m) &m##_msg,
#define F_BOOL(m, name, rules, def, doc)
#define F_INT(m, name, rules, min, max, def, doc)
#define F_NUM(m, name, rules, min, max, def, doc)
#define F_STR(m, name, rules, max, doc)
#define F_BIN(m, name, rules, max, doc)
#define F_RAW(m, name, rules, max, doc)
#define F_STRS(m, name, rules, max, doc)
#define F_LIST(m, name, sub, rules, max, doc)
#define F_MSG(m, name, sub, rules, doc)
#define MESSAGE_END(m, doc)
#include "messages.def"
#include "message_undef.h"
};

const sv_message *message_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0) return all[i];
    return NULL;
}

void message_each(void (*fn)(void *arg, const sv_message *m), void *arg)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        fn(arg, all[i]);
}

/* ---- decode ---- */

/* Where the decoder stands: a field, or an item of a list. Written out only when something is wrong. */
typedef struct step {
    const struct step *up;
    const char *name; /* NULL: an item */
    uint32_t index;
} step;

typedef struct decoder {
    arena *arena;
    unsigned strict;
    sv_error *err;
    const step *at;
    char path[96];
} decoder;

static int decode_map(decoder *d, const sv_message *m, const msgpack_object *o, void *ret);

static void add_step(decoder *d, const step *s)
{
    if (s == NULL) return;
    add_step(d, s->up);
    size_t n = strlen(d->path);
    if (s->name)
        snprintf(d->path + n, sizeof d->path - n, "%s%s", n ? "." : "", s->name);
    else
        snprintf(d->path + n, sizeof d->path - n, "[%u]", s->index);
}

/* "messages[2].role" */
static const char *path(decoder *d)
{
    d->path[0] = 0;
    add_step(d, d->at);
    return d->path;
}

static int wrong_type(decoder *d, const char *want)
{
    path(d);
    return sv_fail(d->err, SV_E_WRONG_TYPE, d->path, "Field %s must be %s.", d->path, want);
}

static int out_of_range(decoder *d, const sv_field *f)
{
    path(d);
    return sv_fail(d->err, SV_E_OUT_OF_RANGE, d->path, "Field %s must be between %.0f and %.0f.",
                   d->path, f->min, f->max);
}

static int too_large(decoder *d, const sv_field *f, const char *unit)
{
    path(d);
    return sv_fail(d->err, SV_E_TOO_LARGE, d->path, "Field %s is over its limit of %.0f %s.",
                   d->path, f->max, unit);
}

static int decode_int(decoder *d, const sv_field *f, const msgpack_object *o, int64_t *ret)
{
    if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        if (o->via.u64 > INT64_MAX) return out_of_range(d, f);
        *ret = (int64_t)o->via.u64;
    } else if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
        *ret = o->via.i64;
    } else {
        return wrong_type(d, "an integer");
    }
    if ((double)*ret < f->min || (double)*ret > f->max) return out_of_range(d, f);
    return 0;
}

static int decode_num(decoder *d, const sv_field *f, const msgpack_object *o, double *ret)
{
    if (o->type == MSGPACK_OBJECT_FLOAT64 || o->type == MSGPACK_OBJECT_FLOAT32)
        *ret = o->via.f64;
    else if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        *ret = (double)o->via.u64;
    else if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *ret = (double)o->via.i64;
    else
        return wrong_type(d, "a number");
    if (!(*ret >= f->min && *ret <= f->max)) return out_of_range(d, f);
    return 0;
}

static int decode_bytes(decoder *d, const sv_field *f, const msgpack_object *o, sv_str *ret)
{
    if (f->type == SV_T_STR && o->type == MSGPACK_OBJECT_STR)
        *ret = (sv_str){o->via.str.ptr, o->via.str.size};
    else if (f->type == SV_T_BIN && o->type == MSGPACK_OBJECT_BIN)
        *ret = (sv_str){o->via.bin.ptr, o->via.bin.size};
    else
        return wrong_type(d, f->type == SV_T_STR ? "a string" : "bytes");
    if (ret->p == NULL) ret->p = "";
    if (ret->n > f->max) return too_large(d, f, "bytes");
    return 0;
}

static int write_buf(void *data, const char *p, size_t n)
{
    return buf_put(data, p, n) ? -1 : 0;
}

static int decode_raw(decoder *d, const sv_field *f, const msgpack_object *o, sv_str *ret)
{
    buf out;
    buf_init(&out, (size_t)f->max);
    msgpack_packer pk;
    msgpack_packer_init(&pk, &out, write_buf);
    int rc = msgpack_pack_object(&pk, *o);
    if (rc == 0 && !out.failed) {
        ret->p = arena_copy(d->arena, buf_str(&out));
        ret->n = (uint32_t)out.n;
    }
    bool failed = out.failed || rc;
    buf_free(&out);
    if (failed) return too_large(d, f, "bytes");
    return ret->p ? 0 : sv_fail(d->err, SV_E_NO_MEMORY, path(d), NULL);
}

static int decode_strs(decoder *d, const sv_field *f, const msgpack_object *o, sv_strs *ret)
{
    if (o->type != MSGPACK_OBJECT_ARRAY) return wrong_type(d, "a list of strings");
    if (o->via.array.size > f->max) return too_large(d, f, "items");
    ret->n = o->via.array.size;
    ret->items = arena_alloc(d->arena, (ret->n + 1) * sizeof *ret->items);
    if (ret->items == NULL) return sv_fail(d->err, SV_E_NO_MEMORY, path(d), NULL);
    for (uint32_t i = 0; i < ret->n; i++) {
        const msgpack_object *s = &o->via.array.ptr[i];
        if (s->type != MSGPACK_OBJECT_STR) return wrong_type(d, "a list of strings");
        ret->items[i] = (sv_str){s->via.str.ptr, s->via.str.size};
    }
    return 0;
}

static int decode_list(decoder *d, const sv_field *f, const msgpack_object *o, sv_list *ret)
{
    if (o->type != MSGPACK_OBJECT_ARRAY) return wrong_type(d, "a list");
    if (o->via.array.size > f->max) return too_large(d, f, "items");
    ret->n = o->via.array.size;
    ret->items = arena_alloc(d->arena, (ret->n + 1) * f->sub->size);
    if (ret->items == NULL) return sv_fail(d->err, SV_E_NO_MEMORY, path(d), NULL);
    step here = {.up = d->at};
    d->at = &here;
    int rc = 0;
    for (; rc == 0 && here.index < ret->n; here.index++)
        rc = decode_map(d, f->sub, &o->via.array.ptr[here.index],
                        (char *)ret->items + here.index * f->sub->size);
    d->at = here.up;
    return rc;
}

static int decode_field(decoder *d, const sv_field *f, const msgpack_object *o, void *to)
{
    switch (f->type) {
    case SV_T_BOOL:
        if (o->type != MSGPACK_OBJECT_BOOLEAN) return wrong_type(d, "true or false");
        *(bool *)to = o->via.boolean;
        return 0;
    case SV_T_INT: return decode_int(d, f, o, to);
    case SV_T_NUM: return decode_num(d, f, o, to);
    case SV_T_STR:
    case SV_T_BIN: return decode_bytes(d, f, o, to);
    case SV_T_RAW: return decode_raw(d, f, o, to);
    case SV_T_STRS: return decode_strs(d, f, o, to);
    case SV_T_LIST: return decode_list(d, f, o, to);
    case SV_T_MSG: {
        void *sub = arena_alloc(d->arena, f->sub->size);
        if (sub == NULL) return sv_fail(d->err, SV_E_NO_MEMORY, path(d), NULL);
        *(void **)to = sub;
        return decode_map(d, f->sub, o, sub);
    }
    }
    return SV_E_INTERNAL;
}

static void set_defaults(const sv_message *m, void *ret)
{
    memset(ret, 0, m->size);
    for (size_t i = 0; i < m->n; i++) {
        const sv_field *f = &m->fields[i];
        void *to = (char *)ret + f->offset;
        if (f->type == SV_T_BOOL)
            *(bool *)to = f->def > 0;
        else if (f->type == SV_T_INT)
            *(int64_t *)to = (int64_t)f->def;
        else if (f->type == SV_T_NUM)
            *(double *)to = f->def;
    }
}

static const sv_field *find_field(const sv_message *m, sv_str name, size_t hint)
{
    for (size_t i = 0; i < m->n; i++) {
        const sv_field *f = &m->fields[(hint + i) % m->n];
        if (sv_str_is(name, f->name)) return f;
    }
    return NULL;
}

static int unknown_field(decoder *d, const sv_message *m, sv_str name)
{
    char word[49];
    snprintf(word, sizeof word, "%.*s", SV_FMT(name));
    step here = {.up = d->at, .name = word};
    d->at = &here;
    path(d);
    d->at = here.up;
    return sv_fail(d->err, SV_E_UNKNOWN_FIELD, d->path, "Field %s is not known in %s.", d->path,
                   m->name);
}

static int missing_field(decoder *d, const sv_field *f)
{
    step here = {.up = d->at, .name = f->name};
    d->at = &here;
    path(d);
    d->at = here.up;
    return sv_fail(d->err, SV_E_MISSING_FIELD, d->path, "Field %s is required: %s.", d->path,
                   f->doc);
}

static int decode_map(decoder *d, const sv_message *m, const msgpack_object *o, void *ret)
{
    set_defaults(m, ret);
    if (o->type != MSGPACK_OBJECT_MAP) return wrong_type(d, "a map");
    uint64_t seen = 0;
    _Static_assert(sizeof seen * 8 >= 64, "one bit a field");
    step here = {.up = d->at};
    size_t next = 0; /* fields mostly come in the order they are declared in */
    for (uint32_t i = 0; i < o->via.map.size; i++) {
        const msgpack_object_kv *kv = &o->via.map.ptr[i];
        sv_str name = {kv->key.via.str.ptr, kv->key.via.str.size};
        const sv_field *f = find_field(m, name, next);
        if (f == NULL) {
            if (!d->strict) continue;
            return unknown_field(d, m, name);
        }
        next = (size_t)(f - m->fields) + 1;
        if (kv->val.type == MSGPACK_OBJECT_NIL && !(f->rules & SV_REQUIRED))
            continue; /* null means absent */
        here.name = f->name;
        d->at = &here;
        int rc = decode_field(d, f, &kv->val, (char *)ret + f->offset);
        d->at = here.up;
        if (rc) return rc;
        seen |= 1ull << (f - m->fields);
    }
    for (size_t i = 0; i < m->n; i++)
        if ((m->fields[i].rules & SV_REQUIRED) && !(seen & 1ull << i))
            return missing_field(d, &m->fields[i]);
    return 0;
}

/* One zone a thread, given back when the thread ends. */
static pthread_key_t zone_key;
static pthread_once_t zone_once = PTHREAD_ONCE_INIT;

static void zone_free(void *z)
{
    msgpack_zone_free(z);
}

static void zone_setup(void)
{
    pthread_key_create(&zone_key, zone_free);
}

static msgpack_zone *zone_take(void)
{
    pthread_once(&zone_once, zone_setup);
    msgpack_zone *z = pthread_getspecific(zone_key);
    if (z == NULL && (z = msgpack_zone_new(4096)) && pthread_setspecific(zone_key, z)) {
        msgpack_zone_free(z);
        return NULL;
    }
    return z;
}

/* After a large message the memory is not kept. */
static void zone_give_back(msgpack_zone *z, size_t used)
{
    if (used <= 16384) {
        msgpack_zone_clear(z);
        return;
    }
    pthread_setspecific(zone_key, NULL);
    msgpack_zone_free(z);
}

int message_decode(const sv_message *m, sv_str bytes, unsigned strict, arena *a, void *ret,
                   sv_error *err)
{
    static const char empty[] = "\x80";
    if (bytes.n == 0) bytes = (sv_str){empty, 1};
    int rc = skim_msgpack(bytes, LIMIT_DEPTH, LIMIT_NODES, err);
    if (rc) return rc;
    msgpack_zone *zone = zone_take();
    if (zone == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    msgpack_object o;
    size_t at = 0;
    decoder d = {.arena = a, .strict = strict, .err = err};
    switch (msgpack_unpack(bytes.p, bytes.n, &at, zone, &o)) {
    case MSGPACK_UNPACK_SUCCESS: rc = decode_map(&d, m, &o, ret); break;
    case MSGPACK_UNPACK_NOMEM_ERROR: rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL); break;
    case MSGPACK_UNPACK_EXTRA_BYTES:
    case MSGPACK_UNPACK_CONTINUE:
    case MSGPACK_UNPACK_PARSE_ERROR:
    default: rc = sv_fail(err, SV_E_MALFORMED, "body", NULL);
    }
    zone_give_back(zone, bytes.n);
    return rc;
}

/* ---- encode ---- */

static bool absent(const sv_field *f, const void *from)
{
    if (f->rules & SV_REQUIRED) return false;
    switch (f->type) {
    case SV_T_BOOL: return *(const bool *)from == (f->def > 0);
    case SV_T_INT: return *(const int64_t *)from == (int64_t)f->def;
    case SV_T_NUM: return *(const double *)from == f->def;
    case SV_T_STR:
    case SV_T_BIN:
    case SV_T_RAW: return ((const sv_str *)from)->p == NULL;
    case SV_T_STRS: return ((const sv_strs *)from)->n == 0;
    case SV_T_LIST: return ((const sv_list *)from)->n == 0;
    case SV_T_MSG: return *(void *const *)from == NULL;
    }
    return true;
}

static void pack_str(msgpack_packer *pk, sv_str s)
{
    msgpack_pack_str(pk, s.n);
    if (s.n) msgpack_pack_str_body(pk, s.p, s.n);
}

static void pack_map(msgpack_packer *pk, const sv_message *m, const void *src);

static void pack_field(msgpack_packer *pk, buf *out, const sv_field *f, const void *from)
{
    switch (f->type) {
    case SV_T_BOOL:
        if (*(const bool *)from)
            msgpack_pack_true(pk);
        else
            msgpack_pack_false(pk);
        break;
    case SV_T_INT: msgpack_pack_int64(pk, *(const int64_t *)from); break;
    case SV_T_NUM: msgpack_pack_double(pk, *(const double *)from); break;
    case SV_T_STR: pack_str(pk, *(const sv_str *)from); break;
    case SV_T_BIN: {
        const sv_str *s = from;
        msgpack_pack_bin(pk, s->n);
        if (s->n) msgpack_pack_bin_body(pk, s->p, s->n);
        break;
    }
    case SV_T_RAW: buf_put(out, ((const sv_str *)from)->p, ((const sv_str *)from)->n); break;
    case SV_T_STRS: {
        const sv_strs *l = from;
        msgpack_pack_array(pk, l->n);
        for (uint32_t i = 0; i < l->n; i++)
            pack_str(pk, l->items[i]);
        break;
    }
    case SV_T_LIST: {
        const sv_list *l = from;
        msgpack_pack_array(pk, l->n);
        for (uint32_t i = 0; i < l->n; i++)
            pack_map(pk, f->sub, (const char *)l->items + i * f->sub->size);
        break;
    }
    case SV_T_MSG: pack_map(pk, f->sub, *(void *const *)from); break;
    }
}

static void pack_map(msgpack_packer *pk, const sv_message *m, const void *src)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++)
        n += !absent(&m->fields[i], (const char *)src + m->fields[i].offset);
    msgpack_pack_map(pk, n);
    for (size_t i = 0; i < m->n; i++) {
        const sv_field *f = &m->fields[i];
        const void *from = (const char *)src + f->offset;
        if (absent(f, from)) continue;
        pack_str(pk, sv_cstr(f->name));
        pack_field(pk, pk->data, f, from);
    }
}

int message_encode(const sv_message *m, const void *src, buf *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, write_buf);
    pack_map(&pk, m, src);
    return out->error;
}

static bool wipe_text(const sv_str *s)
{
    if (s->n) seal_wipe((char *)(uintptr_t)s->p, s->n);
    return s->n > 0;
}

static bool wipe_field(const sv_field *f, const void *at)
{
    const sv_strs *texts = at;
    const sv_list *list = at;
    const void *const *one = at;
    bool secret = f->rules & SV_SECRET, any = false;
    switch (f->type) {
    case SV_T_STR:
    case SV_T_BIN:
    case SV_T_RAW: return secret && wipe_text(at);
    case SV_T_STRS:
        for (uint32_t i = 0; secret && i < texts->n; i++)
            any |= wipe_text(&texts->items[i]);
        return any;
    case SV_T_LIST:
        for (uint32_t i = 0; i < list->n; i++)
            any |= message_wipe(f->sub, (const char *)list->items + i * f->sub->size);
        return any;
    case SV_T_MSG: return *one && message_wipe(f->sub, *one);
    case SV_T_BOOL:
    case SV_T_INT:
    case SV_T_NUM: break;
    }
    return false;
}

bool message_wipe(const sv_message *m, const void *body)
{
    bool any = false;
    for (size_t i = 0; i < m->n; i++)
        any |= wipe_field(&m->fields[i], (const char *)body + m->fields[i].offset);
    return any;
}
