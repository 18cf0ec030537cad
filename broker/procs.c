/*  procs.c - a small hash of pids. A pidfd becomes readable when its process ends; it is watched
 *  once per process, however many connections the process has. */
#include "procs.h"

#include "error.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

struct proc {
    procs *table;
    proc *next;
    uint32_t pid, conns, instance;
    int fd; /* -1: not watched */
    loop_fd *watch;
    char service[LIMIT_NAME_BYTES + 1]; /* "": not announced */
};

static proc **place(const procs *p, uint32_t pid)
{
    proc **at = (proc **)(uintptr_t)&p->slots[pid & (PROCS_SLOTS - 1)];
    while (*at && (*at)->pid != pid)
        at = &(*at)->next;
    return at;
}

static proc *get(procs *p, uint32_t pid)
{
    proc **at = place(p, pid);
    if (*at || p->n >= PROCS_MAX) return *at;
    proc *e = calloc(1, sizeof *e);
    if (e == NULL) return NULL;
    *e = (proc){.table = p, .pid = pid, .fd = -1};
    *at = e;
    p->n++;
    return e;
}

static void unwatch(proc *e)
{
    if (e->fd < 0) return;
    loop_fd_del(e->watch);
    close(e->fd);
    e->fd = -1;
    e->watch = NULL;
}

static void drop_if_unused(procs *p, uint32_t pid)
{
    proc **at = place(p, pid);
    proc *e = *at;
    if (e == NULL || e->conns || e->service[0]) return;
    *at = e->next;
    unwatch(e);
    free(e);
    p->n--;
}

void procs_init(procs *p, loop *l, void (*exited)(void *arg, uint32_t pid), void *arg)
{
    *p = (procs){.loop = l, .exited = exited, .arg = arg};
}

void procs_free(procs *p)
{
    for (size_t i = 0; i < PROCS_SLOTS; i++) {
        while (p->slots[i]) {
            proc *e = p->slots[i];
            p->slots[i] = e->next;
            unwatch(e);
            free(e);
        }
    }
    p->n = 0;
}

static void on_process_end(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    proc *e = arg;
    unwatch(e);
    e->table->exited(e->table->arg, e->pid);
}

int procs_announce(procs *p, uint32_t pid, const char *service, uint32_t instance)
{
    proc *e = get(p, pid);
    if (e == NULL) return SV_E_OVERLOADED;
    snprintf(e->service, sizeof e->service, "%s", service);
    e->instance = instance;
    return 0;
}

void procs_retract(procs *p, uint32_t pid)
{
    proc *e = *place(p, pid);
    if (e == NULL) return;
    e->service[0] = 0;
    drop_if_unused(p, pid);
}

bool procs_connected(procs *p, uint32_t pid)
{
    proc *e = get(p, pid);
    if (e == NULL) return false;
    if (e->conns++ > 0 || e->fd >= 0) return true;
    e->fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (e->fd >= 0 && loop_fd_add(p->loop, e->fd, EPOLLIN, on_process_end, e, &e->watch)) {
        close(e->fd);
        e->fd = -1;
    }
    return true;
}

void procs_disconnected(procs *p, uint32_t pid)
{
    proc *e = *place(p, pid);
    if (e == NULL || e->conns == 0) return;
    e->conns--;
    drop_if_unused(p, pid);
}

void procs_identity(const procs *p, uint32_t pid, identity *ret)
{
    const proc *e = *place(p, pid);
    *ret = (identity){.kind = IDENTITY_OPERATOR, .service = "operator", .pid = pid};
    if (e && e->service[0]) {
        ret->kind = IDENTITY_SUPERVISED;
        memcpy(ret->service, e->service, sizeof ret->service);
        ret->instance = e->instance;
    }
    snprintf(ret->note, sizeof ret->note, "pid %u", (unsigned)pid);
}
