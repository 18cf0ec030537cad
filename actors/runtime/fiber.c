/*  fiber.c - coroutines on pooled, guarded stacks.
 *
 *  A fiber's context is made once by makecontext and entered by setcontext; every later switch
 *  is sigsetjmp/siglongjmp without signal masks, which needs no system call. (The technique is
 *  that of Engelschall, "Portable Multithreading", USENIX 2000, and of QEMU's coroutines.)
 *
 *  A stack that finished its function keeps its context: the trampoline loops, so starting the
 *  next fiber on it is a plain switch. `from` points to whoever resumed the fiber: the loop's
 *  record of the thread, or another fiber. */
#undef _FORTIFY_SOURCE /* its longjmp check knows only one stack */
#include "fiber.h"

#include "error.h"

#include <assert.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif

#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define FIBER_VALGRIND 1
#endif
#endif

struct fiber {
    sigjmp_buf env;
    fiber *from; /* who resumed it; NULL while suspended */
    fiber *next; /* idle list */
    fiber_pool *pool;
    fiber_fn *fn;
    void *arg;
    void *map; /* guard page, then the stack */
    bool ended, fresh;
    const void *stack_bottom;
    size_t stack_size;
    void *fake_stack; /* ASan's */
#ifdef FIBER_TSAN
    void *tsan;
#endif
#ifdef FIBER_VALGRIND
    unsigned valgrind_id;
#endif
};

struct fiber_pool {
    fiber *idle;
    uint32_t n_idle, alive, max, keep;
};

/* The thread's own stack, as a fiber. */
static _Thread_local fiber thread_fiber;
static _Thread_local fiber *running;

static fiber *self(void)
{
    return running ? running : &thread_fiber;
}

static void before_switch(fiber *from, fiber *to)
{
#ifdef FIBER_ASAN
    /* NULL gives the fake stack of a fiber that ended back. */
    __sanitizer_start_switch_fiber(from->ended ? NULL : &from->fake_stack, to->stack_bottom,
                                   to->stack_size);
    if (from->ended) from->fake_stack = NULL;
#endif
#ifdef FIBER_TSAN
    if (from == &thread_fiber && from->tsan == NULL) from->tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
    (void)from;
    (void)to;
}

/* On the stack of `now`, just arrived from `from`. */
static void after_switch(fiber *now, fiber *from)
{
#ifdef FIBER_ASAN
    /* No local variables: they could lie on the fake stack that this fiber gave back when it ended.
     */
    bool learn = from == &thread_fiber;
    __sanitizer_finish_switch_fiber(now->fake_stack, learn ? &from->stack_bottom : NULL,
                                    learn ? &from->stack_size : NULL);
#endif
    (void)now;
    (void)from;
}

static _Thread_local fiber *arrived_from;
static void switch_to(fiber *to);

/* The bottom frame of every stack: runs one function after the other. */
static void trampoline(void)
{
    fiber *f = running;
    after_switch(f, arrived_from);
    for (;;) {
        f->fn(f->arg);
        f->ended = true;
        fiber *back = f->from;
        f->from = NULL;
        switch_to(back); /* comes back when the stack is used again */
    }
}

static void enter_fresh(fiber *to)
{
    /* Not on the stack: ASan would keep the edges of a frame poisoned that never returns. */
    static _Thread_local ucontext_t context;
    to->fresh = false;
    getcontext(&context);
    context.uc_stack.ss_sp = (void *)(uintptr_t)to->stack_bottom;
    context.uc_stack.ss_size = FIBER_STACK;
    context.uc_link = NULL;
    makecontext(&context, trampoline, 0);
    setcontext(&context);
}

static void switch_to(fiber *to)
{
    fiber *from = self();
    if (sigsetjmp(from->env, 0) == 0) {
        before_switch(from, to);
        arrived_from = from;
        running = to == &thread_fiber ? NULL : to;
        if (to->fresh) enter_fresh(to);
        siglongjmp(to->env, 1);
    }
    after_switch(from, arrived_from);
}

static void fiber_destroy(fiber *f)
{
#ifdef FIBER_TSAN
    if (f->tsan) __tsan_destroy_fiber(f->tsan);
#endif
#ifdef FIBER_VALGRIND
    VALGRIND_STACK_DEREGISTER(f->valgrind_id);
#endif
    munmap(f->map, FIBER_STACK + (size_t)sysconf(_SC_PAGESIZE));
    free(f);
}

static fiber *fiber_make(fiber_pool *p)
{
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    fiber *f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    f->pool = p;
    f->fresh = true;
    f->map = mmap(NULL, FIBER_STACK + guard, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (f->map == MAP_FAILED || mprotect(f->map, guard, PROT_NONE)) {
        if (f->map != MAP_FAILED) munmap(f->map, FIBER_STACK + guard);
        free(f);
        return NULL;
    }
    f->stack_bottom = (char *)f->map + guard;
    f->stack_size = FIBER_STACK;
#ifdef FIBER_TSAN
    f->tsan = __tsan_create_fiber(0);
#endif
#ifdef FIBER_VALGRIND
    f->valgrind_id =

        VALGRIND_STACK_REGISTER(f->stack_bottom, (const char *)f->stack_bottom + FIBER_STACK);
#endif
    return f;
}

/* A stack whose function has ended goes back to the pool. */
static void retire(fiber *f)
{
    fiber_pool *p = f->pool;
    p->alive--;
    if (p->n_idle >= p->keep) {
        fiber_destroy(f);
        return;
    }
    f->next = p->idle;
    p->idle = f;
    p->n_idle++;
}

fiber_pool *fiber_pool_new(uint32_t max, uint32_t keep)
{
    fiber_pool *p = calloc(1, sizeof *p);
    if (p) {
        p->max = max;
        p->keep = keep;
    }
    return p;
}

void fiber_pool_free(fiber_pool *p)
{
    if (p == NULL) return;
    assert(p->alive == 0);
    while (p->idle) {
        fiber *f = p->idle;
        p->idle = f->next;
        fiber_destroy(f);
    }
    free(p);
}

uint32_t fiber_pool_alive(const fiber_pool *p)
{
    return p->alive;
}

int fiber_start(fiber_pool *p, fiber_fn *fn, void *arg)
{
    if (p->alive >= p->max) return SV_E_OVERLOADED;
    fiber *f = p->idle;
    if (f) {
        p->idle = f->next;
        p->n_idle--;
    } else if ((f = fiber_make(p)) == NULL) {
        return SV_E_NO_MEMORY;
    }
    p->alive++;
    f->fn = fn;
    f->arg = arg;
    f->ended = false;
    fiber_resume(f);
    return 0;
}

fiber *fiber_current(void)
{
    return running;
}

void fiber_suspend(void)
{
    fiber *f = running;
    assert(f != NULL && "only a fiber can suspend");
    fiber *back = f->from;
    f->from = NULL;
    switch_to(back);
}

void fiber_resume(fiber *f)
{
    assert(f->from == NULL && f != running && !f->ended);
    f->from = self();
    switch_to(f);
    if (f->ended) retire(f);
}
