/*  faults.c - in the preloaded library: decides which call fails. The page is a file mapped by
 *  every process that has the library and by the test, so a test arms and disarms a running one. */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static fault_page *page;

void faults_start(const char *path)
{
    if (page) syscall(SYS_munmap, page, sizeof *page);
    page = NULL;
    if (!path) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    long at = syscall(SYS_mmap, NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at > 0) page = (fault_page *)at;
    syscall(SYS_close, fd);
}

uint32_t faults_take(uint32_t on)
{
    if (!page || !(atomic_load(&page->on) & on)) return 0;
    uint32_t error = atomic_load(&page->error);
    if (error == FAULT_SHORT && on != FAULT_ON_WRITE) return 0;
    bool late = error == FAULT_LATE || error == FAULT_LATE_ONCE;
    if (late && on != FAULT_ON_WRITE && on != FAULT_ON_SYNC) return 0;
    uint64_t n = atomic_fetch_add(&page->seen, 1) + 1;
    uint64_t nth = atomic_load(&page->nth);
    if (n < nth || n - nth >= atomic_load(&page->times)) return 0;
    atomic_fetch_add(&page->done, 1);
    if (error != FAULT_LATE_ONCE) return error;
    return n == nth ? FAULT_LATE : EIO;
}
