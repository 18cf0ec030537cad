#include "kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

char *read_all(const char *path, size_t *ret_n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) die("%s: %s", path, strerror(errno));
    size_t n = (size_t)st.st_size, at = 0;
    char *p = malloc(n + 1);
    if (!p) die("%s: no memory for %zu bytes", path, n);
    while (at < n) {
        ssize_t got = read(fd, p + at, n - at);
        if (got <= 0) die("%s: %s", path, got ? strerror(errno) : "became shorter");
        at += (size_t)got;
    }
    p[n] = 0;
    close(fd);
    *ret_n = n;
    return p;
}

void work_begin(char *ret, size_t n, const char *name)
{
    const char *tmp = getenv("TMPDIR");
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : tmp ? tmp : "/tmp";
    if (snprintf(ret, n, "%s/samovar-%s-XXXXXX", base, name) >= (int)n) die("%s: too long", base);
    if (!mkdtemp(ret)) die("%s: %s", ret, strerror(errno));
}

void empty_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        char below[PATH_MAX];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (snprintf(below, sizeof below, "%s/%s", path, e->d_name) >= PATH_MAX) continue;
        if (e->d_type == DT_DIR)
            work_end(below);
        else
            unlink(below);
    }
    closedir(dir);
}

void make_folder(const char *path)
{
    if (mkdir(path, 0700) && errno != EEXIST) die("%s: %s", path, strerror(errno));
}

void sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd)) die("%s: %s", path, strerror(errno));
    close(fd);
}

void work_end(const char *path)
{
    empty_folder(path);
    rmdir(path);
}

pid_t start_watched(char *const argv[], const watched *w, int acks)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) die("fork: %s", strerror(errno));
    if (pid) return pid;
    char number[16], asan[512];
    const char *was = getenv("ASAN_OPTIONS");
    snprintf(number, sizeof number, "%d", acks);
    /* The library stands before the sanitizer's own; memory kept back makes each fork dear. */
    snprintf(asan, sizeof asan, "%s%sverify_asan_link_order=0:quarantine_size_mb=4", was ? was : "",
             was ? ":" : "");
    setenv("ASAN_OPTIONS", asan, 1);
    setenv("LD_PRELOAD", FAULT_PRELOAD, 1);
    if (w->folder) setenv("FAULT_FOLDER", w->folder, 1);
    if (w->log) setenv("FAULT_LOG", w->log, 1);
    if (w->page) setenv("FAULT_PAGE", w->page, 1);
    if (acks >= 0) setenv("FAULT_ACKS", number, 1);
    execv(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int finish(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) die("waitpid: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

fault_page *page_new(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(fault_page))) die("%s: %s", path, strerror(errno));
    void *p = mmap(NULL, sizeof(fault_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) die("%s: %s", path, strerror(errno));
    close(fd);
    return p;
}

uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise)
{
    for (int i = 1; i + 1 < argc; i++) {
        char *end;
        if (strcmp(argv[i], name) != 0) continue;
        uint64_t value = strtoull(argv[i + 1], &end, 0);
        if (*end || end == argv[i + 1]) die("%s needs a number, not %s", name, argv[i + 1]);
        return value;
    }
    return otherwise;
}

const char *word(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0) return argv[i + 1];
    return NULL;
}

bool flag(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return true;
    return false;
}

uint64_t fresh_seed(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000003 + (uint64_t)t.tv_nsec;
}
