/*  places.c - who holds an environment decides who is asked. A process may start or stop between
 *  looking and asking; then the other way is tried once. */
#include "places.h"

#include "child.h"
#include "error.h"
#include "state.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REPLY_BYTES = 4 << 20, WORDS_BYTES = 65536, LOOK_MS = 30000 };

extern char **environ;

/* ---- which there are ---- */

bool place_parse(const config *c, const char *text, char between, place *ret)
{
    const char *mark = strrchr(text, between);
    size_t n = mark ? (size_t)(mark - text) : 0;
    uint64_t number;
    if (n == 0 || n > LIMIT_NAME_BYTES || mark[1] == '0' || !isdigit((unsigned char)mark[1]) ||
        args_number(mark + 1, 1, UINT32_MAX, &number))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!islower((unsigned char)text[i]) &&
            (i == 0 || (!isdigit((unsigned char)text[i]) && text[i] != '-')))
            return false;
    *ret = (place){.instance = (uint32_t)number};
    memcpy(ret->service, text, n);
    snprintf(ret->name, sizeof ret->name, "%s/%u", ret->service, ret->instance);
    snprintf(ret->file, sizeof ret->file, "%s-%u", ret->service, ret->instance);
    return snprintf(ret->folder, PLATFORM_PATH, "%s/store/%s", config_data(c), ret->file) <
           PLATFORM_PATH;
}

bool place_is(const place *e, const char *which)
{
    return which == NULL || strcmp(which, e->name) == 0 || strcmp(which, e->service) == 0;
}

static int by_name(const void *a, const void *b)
{
    const place *x = a, *y = b;
    int order = strcmp(x->service, y->service);
    return order ? order : (x->instance > y->instance) - (x->instance < y->instance);
}

static int add(places *p, const place *e)
{
    if ((p->n & (p->n - 1)) == 0) {
        place *list = realloc(p->list, (p->n ? 2 * p->n : 1) * sizeof *list);
        if (list == NULL) return SV_E_NO_MEMORY;
        p->list = list;
    }
    p->list[p->n++] = *e;
    return 0;
}

int places_find(places *p, const config *c, const char *which, sv_error *err)
{
    char folder[PLATFORM_PATH + 8], data[PLATFORM_PATH + 16];
    *p = (places){.config = c};
    snprintf(folder, sizeof folder, "%s/store", config_data(c));
    DIR *d = opendir(folder);
    const struct dirent *f;
    int rc = 0;
    while (d && rc == 0 && (f = readdir(d))) {
        place e;
        if (!place_parse(c, f->d_name, '-', &e) || !place_is(&e, which)) continue;
        snprintf(data, sizeof data, "%s/data.mdb", e.folder);
        if (access(data, F_OK) == 0) rc = add(p, &e);
    }
    if (d) closedir(d);
    if (rc) return sv_fail(err, rc, NULL, NULL);
    if (p->n) qsort(p->list, p->n, sizeof *p->list, by_name);
    if (p->n) return 0;
    return sv_fail(err, SV_E_NOT_FOUND, NULL, "There is no environment%s%s in %.150s.",
                   which ? " of " : "", which ? which : "", folder);
}

void places_free(places *p)
{
    bus_client_close(&p->bus);
    free(p->list);
}

/* ---- the actor's own program ---- */

typedef struct run {
    child_process child;
    int out_fd; /* -1: the child writes elsewhere */
    buf out, words;
} run;

/* False at the end of the pipe. */
static bool take(int fd, buf *to)
{
    char piece[4096];
    ssize_t n = read(fd, piece, sizeof piece);
    if (n > 0) buf_put(to, piece, (size_t)n); /* what does not fit is lost, and `failed` */
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void listen_to(run *r)
{
    struct pollfd p[2] = {{r->child.log_fd, POLLIN, 0}, {r->out_fd, POLLIN, 0}};
    while (p[0].fd >= 0 || p[1].fd >= 0) {
        if (poll(p, 2, -1) < 0 && errno != EINTR) return;
        if (p[0].revents && !take(p[0].fd, &r->words)) p[0].fd = -1;
        if (p[1].fd >= 0 && p[1].revents && !take(p[1].fd, &r->out)) p[1].fd = -1;
    }
}

/* "samovar-router: store.locked: The process ..." on a line of the child's: its error. */
static int read_words(const char *program, sv_str words, sv_error *err)
{
    char name[64];
    const char *at = words.p, *end = words.p + words.n;
    size_t n = strlen(program);
    while (at && at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t line_n = (size_t)((line_end ? line_end : end) - at);
        const char *code = at + n + 2;
        if (line_n > n + 2 && memcmp(at, program, n) == 0 && memcmp(at + n, ": ", 2) == 0) {
            size_t rest = line_n - n - 2;
            const char *colon = memmem(code, rest, ": ", 2);
            size_t code_n = colon ? (size_t)(colon - code) : 0;
            snprintf(name, sizeof name, "%.*s", (int)code_n, code);
            const sv_error_info *info = sv_error_by_name(sv_cstr(name));
            if (colon && info)
                return sv_fail(err, info->code, NULL, "%.*s", (int)(rest - code_n - 2), colon + 2);
        }
        at = line_end ? line_end + 1 : end;
    }
    return 0;
}

static int spawn(places *p, const place *e, char *const *argv, const char *program, int out_fd,
                 run *r, sv_error *err)
{
    char path[PLATFORM_PATH + 64], bin[PLATFORM_PATH], number[16];
    env_list env = {NULL, 0, 0};
    (void)p;
    if (!platform_bin(bin))
        return sv_fail(err, SV_E_NOT_FOUND, NULL,
                       "The folder of the executables is not known: set SAMOVAR_BIN.");
    snprintf(path, sizeof path, "%s/%s", bin, program);
    snprintf(number, sizeof number, "%u", e->instance);
    int rc = env_copy(&env, environ, false, NULL, 0);
    if (rc == 0) rc = env_set(&env, "SAMOVAR_INSTANCE", number);
    child_spec spec = {.path = path, .argv = argv, .env = &env, .out_fd = out_fd, .pass = {-1, -1}};
    if (rc == 0) rc = child_spawn(&spec, &r->child, err);
    env_free(&env);
    return rc ? sv_fail(err, rc, NULL, NULL) : 0;
}

/* Waits for the end; how it ended as an error. */
static int reap(run *r, const char *program, sv_error *err)
{
    int status = 0, rc;
    char end[64];
    while (waitpid(r->child.pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(r->child.log_fd);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        if (!r->out.failed) return 0;
        return sv_fail(err, SV_E_TOO_LARGE, NULL, "The answer of %s is too large.", program);
    }
    if ((rc = read_words(program, buf_str(&r->words), err))) return rc;
    child_describe_end(status, end, sizeof end);
    sv_fail(err, SV_E_STORE_DAMAGED, NULL, "%s ended with %s.", program, end);
    sv_error_detail(err, "%.*s", (int)(r->words.n < 200 ? r->words.n : 200),
                    r->words.p ? r->words.p : "");
    return SV_E_STORE_DAMAGED;
}

/* Runs `samovar-SERVICE store WHAT [WORD] --folder F`. `out_fd` >= 0 gets its output, otherwise
 * `line` does. */
static int run_program(places *p, const place *e, const char *what, const char *word, int out_fd,
                       buf *line, sv_error *err)
{
    char program[LIMIT_NAME_BYTES + 16], noun[] = "store", folder[] = "--folder";
    char *argv[8] = {program,
                     noun,
                     (char *)(uintptr_t)what,
                     folder,
                     (char *)(uintptr_t)e->folder,
                     (char *)(uintptr_t)word,
                     NULL};
    run r = {.out_fd = -1};
    int ends[2] = {-1, out_fd};
    snprintf(program, sizeof program, "samovar-%s", e->service);
    if (out_fd < 0 && pipe2(ends, O_CLOEXEC)) return sv_fail(err, SV_E_IO, NULL, NULL);
    buf_init(&r.out, REPLY_BYTES);
    buf_init(&r.words, WORDS_BYTES);
    r.out_fd = ends[0];
    int rc = spawn(p, e, argv, program, ends[1], &r, err);
    if (out_fd < 0) close(ends[1]);
    if (rc == 0) {
        listen_to(&r);
        rc = reap(&r, program, err);
    }
    if (rc == 0 && line && buf_put(line, r.out.p ? r.out.p : "", r.out.n))
        rc = sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (ends[0] >= 0) close(ends[0]);
    buf_free(&r.out);
    buf_free(&r.words);
    return rc;
}

/* Its one line of JSON, decoded. */
static int ask_program(places *p, const place *e, const char *what, const char *word,
                       const sv_message *type, arena *a, void *ret, sv_error *err)
{
    buf line, packed;
    buf_init(&line, REPLY_BYTES);
    buf_init(&packed, REPLY_BYTES);
    int rc = run_program(p, e, what, word, -1, &line, err);
    if (rc == 0) rc = message_from_json(type, buf_str(&line), &packed, err);
    if (rc == 0) rc = bus_answer(type, buf_str(&packed), a, ret, err);
    buf_free(&line);
    buf_free(&packed);
    return rc;
}

/* ---- the actor that runs ---- */

typedef struct stream {
    int fd; /* takes the bytes of a stream */
    bool over;
    int code, write_code;
    buf reply;
    sv_error err;
} stream;

static int write_all(int fd, sv_str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == ENOSPC || errno == EDQUOT ? SV_E_STORE_FULL : SV_E_IO;
        bytes.p += n;
        bytes.n -= (uint32_t)n;
    }
    return 0;
}

static void on_item(void *arg, sv_stream *s, const sv_item *item)
{
    stream *t = arg;
    if (t->write_code == 0 && (t->write_code = write_all(t->fd, item->attachment)))
        sv_fail(&t->err, t->write_code, NULL, "The bytes cannot be written: %s.", strerror(errno));
    sv_consumed(s, 1, (size_t)item->body.n + item->attachment.n);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    stream *t = arg;
    t->over = true;
    t->code = code;
    if (code && err && t->err.code == 0) t->err = *err;
    if (code == 0 && buf_put(&t->reply, item->body.p ? item->body.p : "", item->body.n))
        t->code = sv_fail(&t->err, SV_E_TOO_LARGE, NULL, "The answer is too large.");
}

static bool stream_over(void *arg)
{
    stream *t = arg;
    return t->over || t->write_code;
}

static int call(places *p, const sv_request *r, stream *t, sv_error *err)
{
    static const sv_events events = {.item = on_item, .done = on_done};
    sv_stream *s = sv_open(p->bus.process, r, &events, t, err);
    if (s == NULL) return err->code;
    int rc = sv_tool_wait(p->bus.process, stream_over, t, r->ttl_ms + 1000);
    if (!t->over) sv_cancel(s);
    if (rc == 0) rc = t->write_code ? t->write_code : t->code;
    if (rc == 0) return 0;
    sv_fail(err, rc, t->err.field, t->err.message[0] ? "%s" : NULL, t->err.message);
    return rc;
}

/* `fd` < 0: no stream. */
static int ask_actor(places *p, const place *e, const char *what, const sv_message *request_type,
                     const void *request, int fd, const sv_message *type, arena *a, void *ret,
                     sv_error *err)
{
    char target[LIMIT_TARGET_BYTES + 1];
    stream t = {.fd = fd};
    int rc = p->bus.process ? 0 : bus_client_open(&p->bus, p->config, BUS_PATIENCE_MS, err);
    if (rc) return rc;
    bool quick = strcmp(what, "stat") == 0 || strcmp(what, "keys") == 0;
    snprintf(target, sizeof target, "%s.store_%s", e->name, what);
    buf_init(&t.reply, REPLY_BYTES);
    sv_request r = {.target = target,
                    .type = request_type,
                    .body = request,
                    .ttl_ms = quick ? LOOK_MS : LIMIT_TTL_MS,
                    .max_reply = REPLY_BYTES,
                    .stream = fd >= 0};
    rc = call(p, &r, &t, err);
    if (rc == 0) rc = bus_answer(type, buf_str(&t.reply), a, ret, err);
    buf_free(&t.reply);
    return rc;
}

/* ---- questions ---- */

/* Did the actor go, or come, between looking and asking? */
static bool changed(const place *e, bool held, int rc)
{
    if (!held) return rc == SV_E_STORE_LOCKED;
    return (rc == SV_E_NO_SERVICE || rc == SV_E_UNAVAILABLE || rc == SV_E_PEER_LOST) &&
           !state_held(e->folder);
}

static const bus_empty nothing;

int place_ask(places *p, const place *e, const char *what, const sv_message *type, arena *a,
              void *ret, sv_error *err)
{
    bool held = state_held(e->folder);
    int rc = 0;
    for (int i = 0; i < 2; i++, held = !held) {
        sv_error why = {.code = 0};
        rc = held ? ask_actor(p, e, what, &bus_empty_msg, &nothing, -1, type, a, ret, &why)
                  : ask_program(p, e, what, NULL, type, a, ret, &why);
        if (rc == 0) return 0;
        if (i == 1 || !changed(e, held, rc)) {
            *err = why;
            break;
        }
    }
    return rc;
}

/* `request` is msgpack. */
static int call_actor(places *p, const place *e, const char *method, sv_str request,
                      uint32_t ttl_ms, const sv_message *type, arena *a, void *ret, sv_error *err)
{
    char target[LIMIT_TARGET_BYTES + 1];
    buf reply;
    int rc = p->bus.process ? 0 : bus_client_open(&p->bus, p->config, BUS_PATIENCE_MS, err);
    if (rc) return rc;
    snprintf(target, sizeof target, "%s.%s", e->name, method);
    buf_init(&reply, REPLY_BYTES);
    rc = bus_client_call(&p->bus, target, request, ttl_ms, &reply, err);
    if (rc == 0) rc = bus_answer(type, buf_str(&reply), a, ret, err);
    buf_free(&reply);
    return rc;
}

int place_call(places *p, const place *e, const char *method, const sv_message *request_type,
               const void *request, uint32_t ttl_ms, const sv_message *type, arena *a, void *ret,
               sv_error *err)
{
    buf packed, json;
    buf_init(&packed, LIMIT_MESSAGE_BYTES);
    buf_init(&json, 4 * LIMIT_MESSAGE_BYTES);
    bool held = state_held(e->folder);
    sv_error why = {.code = 0};
    int rc = message_encode(request_type, request, &packed);
    if (rc == 0) rc = message_to_json(request_type, buf_str(&packed), false, &json, &why);
    if (rc == 0) rc = buf_putc(&json, 0);
    if (rc) sv_fail(&why, rc, NULL, NULL);
    for (int i = 0; rc == 0 && i < 2; i++, held = !held) {
        why = (sv_error){.code = 0};
        rc = held ? call_actor(p, e, method, buf_str(&packed), ttl_ms, type, a, ret, &why)
                  : ask_program(p, e, method, json.p, type, a, ret, &why);
        if (rc == 0 || i == 1 || !changed(e, held, rc)) break;
        rc = 0;
    }
    if (rc) *err = why;
    buf_free(&packed);
    buf_free(&json);
    return rc;
}

int place_dump(places *p, const place *e, const char *table, int fd, sv_error *err)
{
    arena a;
    store_dump_req q = {.table = sv_cstr(table)};
    store_dump_reply r;
    if (!state_held(e->folder)) return run_program(p, e, "dump", table, fd, NULL, err);
    arena_init(&a, REPLY_BYTES);
    int rc =
        ask_actor(p, e, "dump", &store_dump_req_msg, &q, fd, &store_dump_reply_msg, &a, &r, err);
    arena_free(&a);
    return rc;
}

int place_backup(places *p, const place *e, const char *path, arena *a, store_copy_reply *ret,
                 sv_error *err)
{
    if (!state_held(e->folder))
        return ask_program(p, e, "backup", path, &store_copy_reply_msg, a, ret, err);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return sv_fail(err, SV_E_IO, NULL, "%.150s cannot be made: %s.", path, strerror(errno));
    int rc =
        ask_actor(p, e, "backup", &bus_empty_msg, &nothing, fd, &store_copy_reply_msg, a, ret, err);
    if (rc == 0 && fsync(fd))
        rc = sv_fail(err, SV_E_IO, NULL, "%.150s cannot be synced: %s.", path, strerror(errno));
    close(fd);
    return rc;
}

int place_verify(places *p, const place *e, const char *folder, arena *a, store_verify_reply *ret,
                 sv_error *err)
{
    return ask_program(p, e, "verify", folder, &store_verify_reply_msg, a, ret, err);
}
