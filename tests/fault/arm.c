/*  arm.c - makes, arms and disarms a fault page from a script.
 *
 *  usage: fault_arm PAGE new | off | EIO [NTH [TIMES]] | full [NTH [TIMES]]
 *
 *  A process that was started with the library and FAULT_PAGE=PAGE then meets EIO at
 *  everything that changes the files of FAULT_FOLDER, or ENOSPC at what writes; without
 *  TIMES until "off". "off" prints how many calls were made to fail. */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
    if (argc < 3) die("usage: fault_arm PAGE new|off|EIO|full [NTH [TIMES]]");
    if (strcmp(argv[2], "new") == 0) return munmap(page_new(argv[1]), sizeof(fault_page));
    int fd = open(argv[1], O_RDWR | O_CLOEXEC);
    fault_page *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || p == MAP_FAILED) die("%s: %s", argv[1], strerror(errno));
    uint64_t nth = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    uint64_t times = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
    if (strcmp(argv[2], "EIO") == 0) {
        fault_arm(p, FAULT_ON_WRITE | FAULT_ON_SYNC | FAULT_ON_TRUNCATE | FAULT_ON_NAME, EIO, nth,
                  times);
    } else if (strcmp(argv[2], "full") == 0) {
        fault_arm(p, FAULT_ON_WRITE | FAULT_ON_TRUNCATE, ENOSPC, nth, times);
    } else if (strcmp(argv[2], "off") == 0) {
        fault_disarm(p);
        printf("%llu\n", (unsigned long long)p->done);
    } else {
        die("fault_arm does not know %s", argv[2]);
    }
    return 0;
}
