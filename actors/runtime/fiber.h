/*  fiber.h - straight-line code that waits without holding the loop.
 *  A fiber runs on its own guarded stack (64 KiB), on the loop's thread, and never moves to
 *  another. fiber_suspend gives control back to whoever resumed it. Stacks are pooled. Annotated for
 *  ASan, TSan and valgrind. libcurl and libsodium never run on one. Built on ucontext for creation
 *  and sigsetjmp/siglongjmp for switching, which costs no system call.
 *  Errors: fiber_start answers
 *  SV_E_NO_MEMORY or SV_E_OVERLOADED (LIMIT: pool's maximum). */
#ifndef SV_FIBER_H
#define SV_FIBER_H

#include "sv_types.h"

typedef struct fiber fiber;
typedef struct fiber_pool fiber_pool;
typedef void fiber_fn(void *arg);

enum { FIBER_STACK = 65536 };

/* At most `max` fibers alive; at most `keep` idle stacks kept. */
fiber_pool *fiber_pool_new(uint32_t max, uint32_t keep);
/* All fibers must have ended. */
void fiber_pool_free(fiber_pool *p);
uint32_t fiber_pool_alive(const fiber_pool *p);

/* Runs fn(arg) on a fiber until it ends or suspends for the first time. */
int fiber_start(fiber_pool *p, fiber_fn *fn, void *arg);
/* The running fiber, or NULL outside of any. */
fiber *fiber_current(void);
/* Suspends the running fiber until fiber_resume. */
void fiber_suspend(void);
/* Continues a suspended fiber until it ends or suspends again. May be called from the loop or from
 * another fiber (control comes back to the caller). */
void fiber_resume(fiber *f);

#endif
