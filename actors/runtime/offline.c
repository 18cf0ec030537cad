/*  offline.c - each subcommand opens the environment as little as it can: to look at it or copy it
 *  read-only under the environment's lock, `verify` without any lock (the folder is a copy that only
 *  its restorer knows), and only rotate and rekey for writing. `replace` needs nothing of what it
 *  replaces, so that a damaged environment can be replaced, too. */
#include "offline.h"

#include "env_lock.h"
#include "error.h"
#include "log.h"
#include "restore.h"
#include "root_key.h"
#include "store_work.h"
#include "sv_limits.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_WORDS = 2, EXIT_CONFIG = 78, REPLY_BYTES = 4 << 20, DUMP_PIECE = 262144 };

typedef struct job {
    const sv_actor *actor;
    config *config;
    uint32_t instance;
    char folder[STATE_PATH];
    const char *word; /* behind the subcommand */
    const sv_question *question;
    seal_key *root, *root_new;
    env_lock lock;
    store *store;
    arena arena;
    sv_error err;
    pthread_mutex_t mutex; /* guards `finished` */
    pthread_cond_t changed;
    store_op *finished;
} job;

/* ---- opening ---- */

static void on_event(void *arg, store_level level, const char *what, const char *detail)
{
    (void)arg;
    if (level != STORE_NOTE) log_write(LOG_WARN, what, LOG_STR("detail", detail));
}

static void on_finished(void *arg, store_op *list)
{
    job *j = arg;
    pthread_mutex_lock(&j->mutex);
    j->finished = list;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->mutex);
}

static int open_store(job *j, const char *folder, bool read_only)
{
    store_spec spec = {.schema = j->actor->store,
                       .folder = folder,
                       .map_bytes = (size_t)config_int(j->config, "store.map_bytes"),
                       .root = j->root,
                       .root_new = j->root_new,
                       .finished = on_finished,
                       .event = on_event,
                       .arg = j,
                       .read_only = read_only};
    int rc = j->root ? 0 : root_key_find(j->config, &j->root, &j->root_new, &j->err);
    spec.root = j->root;
    spec.root_new = j->root_new;
    return rc ? state_key_error(rc, &j->err) : store_open(&spec, &j->store, &j->err);
}

static int there(job *j, const char *folder)
{
    char path[STATE_PATH + 16];
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    if (access(path, F_OK) == 0) return 0;
    return sv_fail(&j->err, SV_E_NOT_FOUND, "folder", "There is no environment in %.180s.", folder);
}

/* Nobody else has it open while this process lives. */
static int look(job *j)
{
    int rc = there(j, j->folder);
    if (rc == 0) rc = env_lock_take(&j->lock, j->folder, j->actor->name, &j->err);
    return rc ? rc : open_store(j, j->folder, true);
}

static int print_line(job *j, buf *text)
{
    int rc = buf_putc(text, '\n');
    if (rc == 0 && (fwrite(text->p, 1, text->n, stdout) != text->n || fflush(stdout)))
        rc = sv_fail(&j->err, SV_E_IO, NULL, "Standard output takes no more.");
    return rc;
}

static int print(job *j, const sv_message *m, const void *reply)
{
    buf text;
    buf_init(&text, REPLY_BYTES);
    int rc = work_json(m, reply, &text);
    if (rc == 0) rc = print_line(j, &text);
    buf_free(&text);
    return rc ? sv_fail(&j->err, rc, NULL, NULL) : 0;
}

/* ---- looking ---- */

static int do_stat(job *j)
{
    store_stat_reply r;
    int rc = look(j);
    if (rc == 0) rc = work_stat(j->store, j->actor->name, j->instance, &j->arena, &r, &j->err);
    r.map_bytes = config_int(j->config, "store.map_bytes"); /* as it will be when it is open */
    return rc ? rc : print(j, &store_stat_reply_msg, &r);
}

static int check_all(job *j, store_check *check)
{
    int rc = 0;
    buf_init(&check->position, LIMIT_PART_BYTES);
    while (rc == 0 && !check->done)
        rc = work_piece(j->store, store_check_some, check, "store check", &j->err);
    buf_free(&check->position);
    return rc;
}

static int do_check(job *j)
{
    store_check check = {.done = false};
    store_check_reply r;
    int rc = look(j);
    if (rc == 0) rc = check_all(j, &check);
    work_check_reply(&check, &r);
    return rc ? rc : print(j, &store_check_reply_msg, &r);
}

static int do_verify(job *j)
{
    store_check check = {.done = false};
    store_stat stat;
    int rc = there(j, j->word);
    if (rc == 0) rc = open_store(j, j->word, true);
    if (rc == 0) rc = check_all(j, &check);
    if (rc == 0 && check.problems)
        rc = sv_fail(&j->err, SV_E_STORE_DAMAGED, NULL, "%llu problems; the first: %.180s",
                     (unsigned long long)check.problems, check.first_problem);
    if (rc == 0) rc = store_stats(j->store, false, &stat, &j->err);
    if (rc) return rc;
    store_verify_reply r = {.service = sv_cstr(j->actor->name),
                            .version = stat.version,
                            .epoch = (int64_t)stat.epoch,
                            .last_txn = (int64_t)stat.last_txn,
                            .rows = (int64_t)check.rows,
                            .entries = (int64_t)check.entries,
                            .blobs = (int64_t)check.blobs,
                            .bytes = (int64_t)check.bytes};
    return print(j, &store_verify_reply_msg, &r);
}

static int do_dump(job *j)
{
    buf out;
    buf_init(&out, REPLY_BYTES);
    store_dump dump = {.table = j->word, .out = &out, .most = DUMP_PIECE};
    buf_init(&dump.position, LIMIT_PART_BYTES);
    int rc = look(j);
    while (rc == 0 && !dump.done) {
        buf_reset(&out, REPLY_BYTES);
        rc = work_piece(j->store, store_dump_some, &dump, "store dump", &j->err);
        if (rc == 0 && out.n && fwrite(out.p, 1, out.n, stdout) != out.n)
            rc = sv_fail(&j->err, SV_E_IO, NULL, "Standard output takes no more.");
    }
    if (fflush(stdout)) rc = sv_fail(&j->err, SV_E_IO, NULL, "Standard output takes no more.");
    buf_free(&dump.position);
    buf_free(&out);
    return rc;
}

static int do_keys(job *j)
{
    store_keys_reply r;
    int rc = look(j);
    if (rc == 0) rc = work_keys(j->store, &r, &j->err);
    return rc ? rc : print(j, &store_keys_reply_msg, &r);
}

/* ---- copies ---- */

static int do_backup(job *j)
{
    store_copy copy;
    int rc = look(j);
    if (rc) return rc;
    int fd = open(j->word, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return sv_fail(&j->err, SV_E_IO, "file", "%.150s cannot be made: %s.", j->word,
                       strerror(errno));
    rc = store_backup(j->store, fd, &copy, &j->err);
    if (rc == 0 && fsync(fd))
        rc = sv_fail(&j->err, SV_E_IO, "file", "%.150s cannot be synced: %s.", j->word,
                     strerror(errno));
    close(fd);
    if (rc) {
        unlink(j->word);
        return rc;
    }
    store_copy_reply r;
    work_copy_reply(&copy, j->actor->name, &r);
    return print(j, &store_copy_reply_msg, &r);
}

/* Opens what is in place now: a start would find the same. */
static int try_open(job *j, store_replace_reply *r)
{
    store_stat stat;
    int rc = open_store(j, j->folder, false);
    if (rc == 0) rc = store_stats(j->store, false, &stat, &j->err);
    if (j->store) store_close(j->store);
    j->store = NULL;
    if (rc) return rc;
    *r = (store_replace_reply){
        .service = sv_cstr(j->actor->name), .version = stat.version, .epoch = (int64_t)stat.epoch};
    return 0;
}

static int replace(job *j)
{
    store_replace_reply r;
    bool had_former;
    char copy[STATE_PATH], former[STATE_PATH];
    int rc = restore_paths(j->folder, copy, former, &j->err);
    if (rc == 0) rc = restore_check(j->folder, &j->err);
    if (rc == 0) rc = env_lock_take(&j->lock, j->folder, j->actor->name, &j->err);
    if (rc == 0) rc = restore_exchange(j->folder, &j->err);
    if (rc) return rc;
    env_lock_give(&j->lock);
    if ((rc = try_open(j, &r))) {
        if (rc != SV_E_STORE_LOCKED) restore_exchange(j->folder, NULL);
        return rc;
    }
    rc = restore_end(j->folder, &had_former, &j->err);
    if (rc) return rc;
    r.former = sv_cstr(had_former ? former : NULL);
    return print(j, &store_replace_reply_msg, &r);
}

static int do_replace(job *j)
{
    int hold, rc = restore_hold(j->folder, false, &hold, &j->err);
    if (rc) return rc;
    rc = replace(j);
    close(hold);
    return rc;
}

/* ---- keys ---- */

static int write_now(job *j, store_fn *fn, const void *in, void *out)
{
    arena a;
    arena_init(&a, REPLY_BYTES);
    store_op op = {.fn = fn, .in = in, .out = out, .arena = &a, .owner = "store"};
    j->finished = NULL;
    int rc = store_submit(j->store, &op);
    pthread_mutex_lock(&j->mutex);
    while (rc == 0 && j->finished == NULL)
        pthread_cond_wait(&j->changed, &j->mutex);
    pthread_mutex_unlock(&j->mutex);
    arena_free(&a);
    if (rc == 0) rc = op.code;
    if (rc) j->err = op.error;
    return rc;
}

static int print_keys(job *j)
{
    store_keys_reply r;
    int rc = work_keys(j->store, &r, &j->err);
    return rc ? rc : print(j, &store_keys_reply_msg, &r);
}

static int do_rotate(job *j)
{
    store_rotation r = {.done = false};
    int rc = there(j, j->folder);
    if (rc == 0) rc = open_store(j, j->folder, false);
    if (rc == 0) rc = write_now(j, store_rotate_begin, NULL, &r);
    while (rc == 0 && !r.done)
        rc = write_now(j, store_rotate_some, NULL, &r);
    return rc ? rc : print_keys(j);
}

static int do_rekey(job *j)
{
    int rc = there(j, j->folder);
    if (rc == 0) rc = open_store(j, j->folder, false);
    if (rc == 0 && j->root_new == NULL)
        rc = sv_fail(&j->err, SV_E_NOT_FOUND, NULL,
                     "There is no new root key: samovar store rekey makes it.");
    if (rc == 0) rc = write_now(j, store_rekey, j->root_new, NULL);
    return rc ? rc : print_keys(j);
}

/* ---- the actor's own questions ---- */

static int question_write(sv_offline *o, store_fn *fn, const void *in, void *out)
{
    return write_now(o->job, fn, in, out);
}

static int print_answer(job *j, const sv_message *m, const void *reply)
{
    buf packed, text;
    buf_init(&packed, REPLY_BYTES);
    buf_init(&text, REPLY_BYTES);
    int rc = message_encode(m, reply, &packed);
    if (rc == 0) rc = message_to_json(m, buf_str(&packed), false, &text, &j->err);
    if (rc == 0) rc = print_line(j, &text);
    buf_free(&packed);
    buf_free(&text);
    return rc;
}

static int do_question(job *j)
{
    const sv_question *q = j->question;
    buf packed;
    buf_init(&packed, REPLY_BYTES);
    void *request = arena_alloc(&j->arena, q->request->size + 1);
    void *reply = arena_alloc(&j->arena, q->reply->size + 1);
    int rc = request && reply ? 0 : SV_E_NO_MEMORY;
    sv_str json = sv_cstr(j->word ? j->word : "{}");
    if (rc == 0) rc = message_from_json(q->request, json, &packed, &j->err);
    if (rc == 0)
        rc = message_decode(q->request, buf_str(&packed), MESSAGE_STRICT, &j->arena, request,
                            &j->err);
    if (rc == 0 && !(q->writes && q->writes(request)))
        rc = look(j);
    else if (rc == 0 && (rc = there(j, j->folder)) == 0)
        rc = open_store(j, j->folder, false);
    sv_offline o = {j->store, &j->arena, &j->err, question_write, j};
    if (rc == 0) rc = q->answer(&o, request, reply);
    if (rc == 0) rc = print_answer(j, q->reply, reply);
    buf_free(&packed);
    return rc ? sv_fail(&j->err, rc, NULL, NULL) : 0;
}

/* ---- the command line ---- */

static const struct subcommand {
    const char *name, *word; /* NULL: takes none; in brackets: may be left out */
    int (*run)(job *j);
    const char *doc;
} subcommands[] = {
    {"stat", NULL, do_stat, "state, size and tables"},
    {"check", NULL, do_check, "looks at everything that is stored"},
    {"dump", "[TABLE]", do_dump, "rows as JSON lines"},
    {"backup", "FILE", do_backup, "a compacted copy"},
    {"verify", "FOLDER", do_verify, "checks a copy without changing it"},
    {"replace", NULL, do_replace, "puts the verified copy in FOLDER.restore in place"},
    {"keys", NULL, do_keys, "keys that seal secrets"},
    {"rotate", NULL, do_rotate, "new keys; everything sealed is sealed anew"},
    {"rekey", NULL, do_rekey, "wraps the keys with the new root key"},
};
static const struct subcommand own_question = {"", "[JSON]", do_question, ""};
enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

static void help(const sv_actor *a, FILE *out)
{
    fprintf(out,
            "Usage: samovar-%s store SUBCOMMAND [WORD] [--folder FOLDER] [--config FILE]\n\n"
            "Works on the environment of a stopped %s.\n\n",
            a->name, a->name);
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        fprintf(out, "  %-8s %-8s %s\n", subcommands[i].name,
                subcommands[i].word ? subcommands[i].word : "", subcommands[i].doc);
    for (size_t i = 0; i < a->n_questions; i++)
        fprintf(out, "  %-8s %-8s %s\n", a->questions[i].name, own_question.word,
                a->questions[i].doc);
    fprintf(out, "\nFOLDER is DATA/store/%s-N, N from SAMOVAR_INSTANCE (1), unless it is given.\n",
            a->name);
}

static int wrong(const sv_actor *a, const char *what, const char *word)
{
    fprintf(stderr, "samovar-%s: %s \"%s\"\n", a->name, what, word);
    help(a, stderr);
    return EXIT_WORDS;
}

/* Fills the job's words. -1: run `*ret`; else the exit code. */
static int read_words(int argc, char **argv, job *j, const struct subcommand **ret,
                      const char **folder, const char **file)
{
    const struct subcommand *s = NULL;
    for (int i = 0; i < argc; i++) {
        const char *w = argv[i];
        if (strcmp(w, "--help") == 0) {
            help(j->actor, stdout);
            return 0;
        }
        if (w[0] == '-') {
            const char **to = strcmp(w, "--folder") == 0   ? folder
                              : strcmp(w, "--config") == 0 ? file
                                                           : NULL;
            if (to == NULL || i + 1 == argc) return wrong(j->actor, "wrong option", w);
            *to = argv[++i];
        } else if (s == NULL) {
            for (size_t k = 0; k < SUBCOMMANDS && s == NULL; k++)
                if (strcmp(w, subcommands[k].name) == 0) s = &subcommands[k];
            for (size_t k = 0; k < j->actor->n_questions && s == NULL; k++)
                if (strcmp(w, j->actor->questions[k].name) == 0) {
                    j->question = &j->actor->questions[k];
                    s = &own_question;
                }
            if (s == NULL) return wrong(j->actor, "unknown subcommand", w);
        } else if (s->word && j->word == NULL) {
            j->word = w;
        } else {
            return wrong(j->actor, "one word too many:", w);
        }
    }
    if (s == NULL) return wrong(j->actor, "missing subcommand", "");
    if (s->word && s->word[0] != '[' && j->word == NULL)
        return wrong(j->actor, "missing word:", s->word);
    *ret = s;
    return -1;
}

static int set_folder(job *j, const char *folder)
{
    const char *number = getenv("SAMOVAR_INSTANCE");
    unsigned long n = number ? strtoul(number, NULL, 10) : 1;
    j->instance = n > 0 && n <= UINT32_MAX ? (uint32_t)n : 1;
    if (folder == NULL)
        return state_folder(j->config, j->actor->name, j->instance, j->folder, &j->err);
    if (snprintf(j->folder, STATE_PATH, "%s", folder) >= STATE_PATH)
        return sv_fail(&j->err, SV_E_TOO_LARGE, "folder", "The path is too long.");
    return 0;
}

int offline_main(int argc, char **argv, const sv_actor *actor)
{
    static job j = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    const struct subcommand *s = NULL;
    const char *folder = NULL, *file = NULL;
    struct rlimit none = {0, 0};
    j.actor = actor;
    j.lock.fd = -1;
    int rc = read_words(argc, argv, &j, &s, &folder, &file);
    if (rc >= 0) return rc;
    if (actor->store == NULL) {
        fprintf(stderr, "samovar-%s: it keeps nothing\n", actor->name);
        return EXIT_WORDS;
    }
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    log_init(actor->name, 0, LOG_WARN, STDERR_FILENO);
    arena_init(&j.arena, REPLY_BYTES);
    rc = config_load(file, &j.config, &j.err);
    if (rc == 0) rc = set_folder(&j, folder);
    if (rc == 0) rc = s->run(&j);
    if (rc)
        fprintf(stderr, "samovar-%s: %s: %s%s%s%s\n", actor->name, sv_error_lookup(rc)->name,
                j.err.message[0] ? j.err.message : sv_error_lookup(rc)->text,
                j.err.detail[0] ? " (" : "", j.err.detail, j.err.detail[0] ? ")" : "");
    if (j.store) store_close(j.store);
    env_lock_give(&j.lock);
    seal_key_free(j.root);
    seal_key_free(j.root_new);
    arena_free(&j.arena);
    config_free(j.config);
    return rc == 0 ? 0 : state_is_config(rc) ? EXIT_CONFIG : 1;
}
