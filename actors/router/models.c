/*  models.c - finds models by hash, and keeps the file it read fresh. */
#include "models_table.h"

#include "error.h"
#include "fnv.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const model_task_names[TASKS] = {
    "chat", "code", "summarise", "translate", "extract", "reason", "vision", "long", "tools"};

static const model_info unknown = {
    .id = "", .quality = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f}};

/* What tells one state of a file from another without reading it. */
typedef struct file_mark {
    struct timespec changed;
    off_t size;
    ino_t ino;
} file_mark;

struct models {
    const config *c;
    char path[PATH_MAX];
    bool given; /* by router.models_file: then it has to be there */
    file_mark mark;
    uint64_t generation;
    model_table *table;
};

/* ---- the table ---- */

enum { TABLE_BYTES = 64 << 20, SLOTS_LEAST = 1024, NAME_WITH_DATE = 11 };

int model_table_new(model_table **ret)
{
    model_table *t = calloc(1, sizeof *t);
    if (t == NULL) return SV_E_NO_MEMORY;
    arena_init(&t->mem, TABLE_BYTES);
    t->cap = SLOTS_LEAST;
    t->slots = calloc(t->cap, sizeof *t->slots);
    if (t->slots == NULL) {
        free(t);
        return SV_E_NO_MEMORY;
    }
    *ret = t;
    return 0;
}

void model_table_free(model_table *t)
{
    if (t == NULL) return;
    free(t->slots);
    arena_free(&t->mem);
    free(t);
}

static uint64_t hash_of(model_key key, sv_str provider, sv_str name)
{
    uint64_t h = fnv_more(fnv_more(FNV_BASIS + (uint64_t)key, provider), name);
    h ^= h >> 32;
    return h ? h : 1;
}

static model_slot *find_slot(const model_table *t, uint64_t hash, model_key key, sv_str provider,
                             sv_str name)
{
    for (size_t i = hash & (t->cap - 1);; i = (i + 1) & (t->cap - 1)) {
        model_slot *s = &t->slots[i];
        if (s->hash == 0) return s;
        if (s->hash == hash && s->key == key && sv_str_is(name, s->name) &&
            sv_str_is(provider, s->provider))
            return s;
    }
}

static int grow(model_table *t)
{
    size_t cap = t->cap * 2;
    model_slot *more = calloc(cap, sizeof *more);
    if (more == NULL) return SV_E_NO_MEMORY;
    for (size_t i = 0; i < t->cap; i++) {
        if (t->slots[i].hash == 0) continue;
        size_t at = t->slots[i].hash & (cap - 1);
        while (more[at].hash)
            at = (at + 1) & (cap - 1);
        more[at] = t->slots[i];
    }
    free(t->slots);
    t->slots = more;
    t->cap = cap;
    return 0;
}

model_slot *model_table_get(const model_table *t, model_key key, sv_str provider, sv_str name)
{
    model_slot *s = find_slot(t, hash_of(key, provider, name), key, provider, name);
    return s->hash ? s : NULL;
}

model_slot *model_table_put(model_table *t, model_key key, const char *provider, const char *name,
                            bool *ret_there)
{
    if (t->n * 2 >= t->cap && grow(t)) return NULL;
    uint64_t hash = hash_of(key, sv_cstr(provider), sv_cstr(name));
    model_slot *s = find_slot(t, hash, key, sv_cstr(provider), sv_cstr(name));
    *ret_there = s->hash != 0;
    if (*ret_there) return s;
    *s = (model_slot){.hash = hash, .key = key, .provider = provider, .name = name};
    t->n++;
    return s;
}

model_info *model_table_info(model_table *t, const model_info *from, const char *id)
{
    model_info *info = arena_alloc(&t->mem, sizeof *info);
    if (info == NULL) return NULL;
    *info = from ? *from : unknown;
    if (id) info->id = id;
    return info;
}

const model_picture *model_table_pictures(model_table *t, const model_picture *from, uint32_t n)
{
    model_picture *all = arena_alloc(&t->mem, n * sizeof *all);
    if (all) memcpy(all, from, n * sizeof *all);
    return all;
}

/* "-2024-08-06", "-20250929" */
static sv_str without_date(sv_str name)
{
    static const uint32_t lengths[] = {11, 9};
    for (size_t k = 0; k < 2; k++) {
        uint32_t n = lengths[k], i;
        if (name.n <= n || name.p[name.n - n] != '-') continue;
        const char *p = name.p + name.n - n;
        for (i = 1; i < n; i++) {
            bool dash = n == 11 && (i == 5 || i == 8);
            if (dash ? p[i] != '-' : p[i] < '0' || p[i] > '9') break;
        }
        if (i == n && p[1] == '2' && p[2] == '0') return (sv_str){name.p, name.n - n};
    }
    return (sv_str){NULL, 0};
}

const model_slot *model_table_search(const model_table *t, sv_str provider, sv_str name)
{
    static const char prefix[] = "models/"; /* as Gemini lists them */
    for (int round = 0; round < 3; round++) {
        const model_slot *s = provider.n ? model_table_get(t, KEY_NAME, provider, name) : NULL;
        if (s == NULL) s = model_table_get(t, KEY_NAME, sv_cstr(""), name);
        if (s) return s;
        if (name.n >= sizeof prefix && memcmp(name.p, prefix, sizeof prefix - 1) == 0)
            name = (sv_str){name.p + sizeof prefix - 1, name.n - (uint32_t)sizeof prefix + 1};
        else
            name = without_date(name);
        if (name.p == NULL) break;
    }
    return NULL;
}

/* ---- the file ---- */

static bool beside_bin(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    if (n <= 0) return false;
    path[n] = 0;
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(path, '/');
        if (slash == NULL) return false;
        *slash = 0;
    }
    size_t at = strlen(path), left = size - at;
    return snprintf(path + at, left, "/share/samovar/models.json") < (int)left;
}

static bool same_mark(const file_mark *a, const file_mark *b)
{
    return a->size == b->size && a->ino == b->ino && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

static int wrong_file(const models *m, sv_error *err, const char *words)
{
    return sv_fail(err, SV_E_CONFIG, "router.models_file", "%.150s: %s", m->path, words);
}

/* The whole file, and its mark as of the reading. SV_E_NOT_FOUND: there is none. */
static int read_file(const models *m, buf *out, file_mark *mark, sv_error *err)
{
    struct stat st;
    int fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return SV_E_NOT_FOUND;
    if (fd < 0) return wrong_file(m, err, strerror(errno));
    int rc = 0;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        rc = wrong_file(m, err, "this is no file");
    else if (st.st_size > MODEL_FILE_BYTES)
        rc = wrong_file(m, err, "the file is larger than 4 MiB");
    else
        *mark = (file_mark){st.st_mtim, st.st_size, st.st_ino};
    while (rc == 0) {
        char *room = buf_room(out, 65536);
        ssize_t n = room ? read(fd, room, 65536) : -1;
        if (room == NULL)
            rc = wrong_file(m, err, "the file is larger than 4 MiB");
        else if (n < 0 && errno != EINTR)
            rc = wrong_file(m, err, strerror(errno));
        else if (n == 0)
            break;
        else if (n > 0)
            buf_added(out, (size_t)n);
    }
    close(fd);
    return rc;
}

static int build(models *m, sv_error *err)
{
    buf text;
    model_table *t = NULL;
    file_mark mark = {0};
    buf_init(&text, MODEL_FILE_BYTES + 65536);
    int rc = m->path[0] ? read_file(m, &text, &mark, err) : SV_E_NOT_FOUND;
    bool absent = rc == SV_E_NOT_FOUND;
    if (absent) rc = m->given || m->table ? wrong_file(m, err, "there is no such file") : 0;
    /* A wrong one is looked at again when it changes, not each time. */
    m->mark = mark;
    if (rc == 0 && model_table_new(&t)) rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc == 0 && absent)
        log_write(LOG_WARN,
                  "the file of models is not installed: their prices and sizes are unknown",
                  LOG_STR("file", m->path));
    if (rc == 0 && !absent) rc = models_read(t, m->path, buf_str(&text), err);
    if (rc == 0) rc = models_configure(t, m->c, err);
    buf_free(&text);
    if (rc) {
        model_table_free(t);
        return rc;
    }
    model_table_free(m->table);
    m->table = t;
    m->generation++;
    return 0;
}

/* ---- life ---- */

int models_load(const config *c, models **ret, sv_error *err)
{
    models *m = calloc(1, sizeof *m);
    if (m == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    const char *given = config_str(c, "router.models_file");
    m->c = c;
    m->given = given != NULL;
    int rc = 0;
    if (given && snprintf(m->path, sizeof m->path, "%s", given) >= (int)sizeof m->path)
        rc = sv_fail(err, SV_E_CONFIG, "router.models_file", "The path is too long.");
    else if (given == NULL && !beside_bin(m->path, sizeof m->path))
        m->path[0] = 0;
    if (rc == 0) rc = build(m, err);
    if (rc) {
        models_free(m);
        return rc;
    }
    *ret = m;
    return 0;
}

void models_free(models *m)
{
    if (m == NULL) return;
    model_table_free(m->table);
    free(m);
}

int models_reload(models *m, bool forced, sv_error *err)
{
    struct stat st;
    file_mark mark = {0};
    sv_error why = {0};
    if (m->path[0] && stat(m->path, &st) == 0)
        mark = (file_mark){st.st_mtim, st.st_size, st.st_ino};
    if (!forced && same_mark(&mark, &m->mark)) return 0;
    int rc = build(m, &why);
    if (rc) {
        log_write(LOG_ERROR, "the file of models is wrong: what was read before stays",
                  LOG_STR("file", m->path), LOG_ERR(&why));
        return sv_fail(err, rc, why.field, "%s", why.message);
    }
    log_write(LOG_INFO, "the file of models was read", LOG_STR("file", m->path),
              LOG_STR("date", m->table->date), LOG_INT("models", m->table->records));
    return 0;
}

/* ---- query ---- */

const char *models_date(const models *m)
{
    return m->table->date;
}

uint64_t models_generation(const models *m)
{
    return m->generation;
}

const model_info *models_find(const models *m, const char *provider, sv_str model)
{
    const model_slot *s = model_table_search(m->table, sv_cstr(provider ? provider : ""), model);
    return s ? s->to.info : &unknown;
}

const char *models_name_at(const models *m, const char *provider, const char *id)
{
    const model_slot *s = model_table_get(m->table, KEY_AT, sv_cstr(provider), sv_cstr(id));
    return s ? s->to.called : NULL;
}

uint32_t models_names(const models *m, const char *id, const char *const **ret)
{
    const model_slot *s = model_table_get(m->table, KEY_RECORD, sv_cstr(""), sv_cstr(id));
    *ret = s ? s->to.record->names : NULL;
    return s ? s->to.record->n_names : 0;
}

/* ---- cost ---- */

static int64_t at_most(int64_t n, int64_t most)
{
    return n < 0 ? 0 : n < most ? n : most;
}

int64_t model_cost(const model_price *p, const tokens *t)
{
    static const int64_t most = 9007199254740991, per = 1000000;
    int64_t prompt = at_most(t->prompt, most), completion = at_most(t->completion, most);
    int64_t cached = at_most(t->cached, prompt);
    int64_t written = at_most(t->cache_write, prompt - cached);
    int64_t hour = at_most(t->cache_write_1h, written);
    __int128 in = (__int128)(prompt - cached - written) * p->input + (__int128)cached * p->cached +
                  (__int128)(written - hour) * p->cache_write + (__int128)hour * p->cache_write_1h;
    __int128 out = (__int128)completion * p->output;
    if (p->long_from > 0 && prompt > p->long_from) {
        /* in * long_input / input, without losing what is below one unit: rounded up once. The
         * product fits: four sums of 53 and 40 bits times 40 bits are 135 bits at the very most, so
         * the sum is bounded before. */
        __int128 bound = (__int128)most * per;
        if (in > bound) in = bound;
        in = p->input > 0 ? (in * p->long_input + p->input - 1) / p->input
                          : (__int128)(prompt - cached) * p->long_input;
        out = (__int128)completion * p->long_output;
    }
    __int128 sum = (in + out + per - 1) / per;
    return sum > most ? most : (int64_t)sum;
}
