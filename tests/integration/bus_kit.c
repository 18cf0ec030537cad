/*  bus_kit.c - see bus_kit.h. */
#include "bus_kit.h"

#include "error.h"
#include "log.h"
#include "uuid.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 16, SOME_MS = 5000 };

char kit_folder[64];
sv_process *kit_me;
uint8_t kit_seed[TICKET_SEED];
ticket_signer kit_signer;

static int control = -1;
static pid_t broker, children[CHILDREN];
static config *settings;

/* ---- processes ---- */

void kit_open(const char *name)
{
    char path[128];
    if (getenv("BIN") == NULL) fail_msg("BIN must name the folder with the executables");
    snprintf(kit_folder, sizeof kit_folder, "/tmp/samovar-%s.XXXXXX", name);
    assert_non_null(mkdtemp(kit_folder));
    snprintf(path, sizeof path, "%s/root.key", kit_folder);
    setenv("SAMOVAR_STORE_ROOT_KEY_FILE", path, 1);
    snprintf(path, sizeof path, "%s/data", kit_folder);
    setenv("SAMOVAR_DATA", path, 1);
    assert_int_equal(mkdir(path, 0700), 0);
    log_init("test", 0, LOG_ERROR, 2);
    uuid_random(kit_seed, sizeof kit_seed);
    ticket_signer_init(&kit_signer, kit_seed);
}

static void tell(const char *line)
{
    char answer[256] = "";
    struct pollfd p = {control, POLLIN, 0};
    assert_true(send(control, line, strlen(line), 0) > 0);
    assert_int_equal(poll(&p, 1, SOME_MS), 1);
    assert_true(recv(control, answer, sizeof answer - 1, 0) > 0);
    assert_string_equal(answer, "ok");
}

void kit_start_broker(void)
{
    int pair[2];
    char path[512], fd[16], hex[2 * TICKET_KEY + 1];
    uint8_t key[TICKET_KEY];
    ticket_signer_public(&kit_signer, key);
    hex_format(key, sizeof key, hex);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    if (control >= 0) close(control);
    control = pair[0];
    snprintf(path, sizeof path, "%s/samovar-broker", getenv("BIN"));
    snprintf(fd, sizeof fd, "%d", pair[1]);
    broker = fork();
    assert_true(broker >= 0);
    if (broker == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("SAMOVAR_CONTROL_FD", fd, 1);
        execl(path, path, "--signer", hex, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
}

void kit_kill_broker(void)
{
    kill(broker, SIGKILL);
    assert_int_equal(waitpid(broker, NULL, 0), broker);
    broker = 0;
}

static int seed_pipe(void)
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], kit_seed, TICKET_SEED), TICKET_SEED);
    close(fd[1]);
    return fd[0];
}

/* In the child; waits until the broker knows it. */
static void become(const sv_actor *actor, const char *name, unsigned instance, int gate)
{
    char path[512], number[16], go;
    char *argv[] = {(char *)(uintptr_t)name, NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(gate, &go, 1) != 1) _exit(1);
    close(gate);
    snprintf(number, sizeof number, "%u", instance);
    setenv("SAMOVAR_INSTANCE", number, 1);
    if (actor) _exit(sv_main(1, argv, actor));
    if (strcmp(name, "auth") == 0) {
        snprintf(number, sizeof number, "%d", seed_pipe());
        setenv("SAMOVAR_TICKET_FD", number, 1);
    }
    snprintf(path, sizeof path, "%s/samovar-%s", getenv("BIN"), name);
    execl(path, path, (char *)NULL);
    _exit(127);
}

void kit_announce(pid_t pid, const char *name, unsigned instance)
{
    char line[96];
    snprintf(line, sizeof line, "child %d %s %u", pid, name, instance);
    tell(line);
}

static pid_t *child_of(pid_t pid)
{
    pid_t *c = children;
    while (c < children + CHILDREN && *c != pid)
        c++;
    assert_true(c < children + CHILDREN);
    return c;
}

pid_t kit_start(const sv_actor *actor, const char *name, unsigned instance)
{
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(gate[1]);
        become(actor, name, instance, gate[0]);
    }
    close(gate[0]);
    *child_of(0) = pid;
    kit_announce(pid, name, instance);
    assert_int_equal(write(gate[1], "g", 1), 1);
    close(gate[1]);
    return pid;
}

void kit_ended(pid_t pid)
{
    char line[64];
    pid_t *c = child_of(pid);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    *c = 0;
    snprintf(line, sizeof line, "exited %d", pid);
    tell(line);
}

void kit_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    kit_ended(pid);
}

void kit_join(void)
{
    sv_error err = {.code = 0};
    assert_int_equal(config_load(NULL, &settings, &err), 0);
    kit_me = sv_tool_start(settings, NULL, &err);
    assert_non_null(kit_me);
}

static void end_well(pid_t pid)
{
    int status = 0;
    if (pid == 0) return;
    kill(pid, SIGTERM);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0); /* a leak report is not 0 */
}

int kit_close(void **state)
{
    (void)state;
    char line[128];
    sv_tool_stop(kit_me);
    config_free(settings);
    for (size_t i = 0; i < CHILDREN; i++)
        end_well(children[i]);
    end_well(broker);
    snprintf(line, sizeof line, "rm -rf %s", kit_folder);
    return system(line);
}

/* ---- calls ---- */

static void on_item(void *arg, sv_stream *s, const sv_item *item)
{
    kit_call *k = arg;
    buf_put(&k->bytes, item->attachment.p, item->attachment.n);
    if (!k->hold) sv_consumed(s, 1, item->body.n + item->attachment.n);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    kit_call *k = arg;
    k->done = true;
    k->code = code;
    if (err) k->error = *err;
    if (code == 0) buf_put(&k->body, item->body.p, item->body.n);
}

bool kit_is_done(void *call)
{
    return ((kit_call *)call)->done;
}

sv_stream *kit_begin(kit_call *k, const sv_request *r)
{
    static const sv_events events = {on_item, on_done};
    sv_request q = *r;
    if (q.ttl_ms == 0) q.ttl_ms = KIT_PATIENCE_MS;
    *k = (kit_call){.wait_ms = q.ttl_ms + SOME_MS};
    buf_init(&k->body, 1 << 20);
    buf_init(&k->bytes, 64 << 20);
    arena_init(&k->a, 1 << 20);
    sv_stream *s = sv_open(kit_me, &q, &events, k, &k->error);
    assert_non_null(s);
    return s;
}

int kit_finish(kit_call *k, const sv_message *m, void *reply)
{
    assert_int_equal(sv_tool_wait(kit_me, kit_is_done, k, k->wait_ms), 0);
    if (k->code == 0 && m)
        assert_int_equal(message_decode(m, buf_str(&k->body), MESSAGE_STRICT, &k->a, reply, NULL),
                         0);
    return k->code;
}

void kit_end(kit_call *k)
{
    buf_free(&k->body);
    buf_free(&k->bytes);
    arena_free(&k->a);
}

int kit_code(const sv_request *r)
{
    kit_call k;
    kit_begin(&k, r);
    int rc = kit_finish(&k, NULL, NULL);
    kit_end(&k);
    return rc;
}
