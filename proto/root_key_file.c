/*  root_key_file.c - one line of text, written and parsed; wiped wherever it passes. */
#include "root_key_file.h"

#include "error.h"
#include "private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static const char head[] = "samovar-root-key 1 ";

enum { HEAD = sizeof head - 1, HEX = 2 * SEAL_KEY, LINE = HEAD + HEX + 1 };

static void format(const seal_key *k, char line[LINE + 1])
{
    memcpy(line, head, HEAD);
    sodium_bin2hex(line + HEAD, HEX + 1, seal_key_bytes(k), SEAL_KEY);
    memcpy(line + HEAD + HEX, "\n", 2);
}

/* The newline at the end may be missing. */
static int parse(const char *line, size_t n, const char *path, seal_key **ret, sv_error *err)
{
    uint8_t b[SEAL_KEY];
    size_t got = 0;
    bool shape = n >= LINE - 1 && n <= LINE && memcmp(line, head, HEAD) == 0 &&
                 (n < LINE || line[LINE - 1] == '\n');
    if (!shape || sodium_hex2bin(b, sizeof b, line + HEAD, HEX, NULL, &got, NULL) ||
        got != sizeof b)
        return sv_fail(err, SV_E_CONFIG, "path",
                       "%s is not a root key file: it must be one line, \"%s%d hex digits\".", path,
                       head, HEX);
    seal_key *k = seal_key_from(b);
    seal_wipe(b, sizeof b);
    if (k == NULL)
        return sv_fail(
            err, SV_E_NO_MEMORY, NULL,
            "There is no locked memory left for keys; raise RLIMIT_MEMLOCK (ulimit -l).");
    *ret = k;
    return 0;
}

int root_key_write(const char *path, const seal_key *k, sv_error *err)
{
    char line[LINE + 1];
    format(k, line);
    int rc = private_file_write(path, (sv_str){line, LINE}, err);
    seal_wipe(line, sizeof line);
    return rc;
}

int root_key_read(const char *path, seal_key **ret, sv_error *err)
{
    char line[LINE];
    size_t n = 0;
    int rc = private_file_read(path, "the root key", line, sizeof line, &n, err);
    if (rc == 0) rc = parse(line, n, path, ret, err);
    seal_wipe(line, sizeof line);
    return rc;
}

int root_key_to_fd(const seal_key *k, int *ret_fd, sv_error *err)
{
    char line[LINE + 1];
    int fd = memfd_create("samovar-root-key", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return sv_fail(err, SV_E_IO, NULL, "A memory file cannot be made: %s.", strerror(errno));
    format(k, line);
    bool ok = pwrite(fd, line, LINE, 0) == LINE &&
              fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
    seal_wipe(line, sizeof line);
    if (!ok) {
        sv_fail(err, SV_E_IO, NULL, "A memory file cannot be written: %s.", strerror(errno));
        close(fd);
        return SV_E_IO;
    }
    *ret_fd = fd;
    return 0;
}

int root_key_from_fd(int fd, seal_key **ret, sv_error *err)
{
    char line[LINE + 1];
    ssize_t n = private_file_read_fd(fd, line, sizeof line);
    int rc = n < 0 ? sv_fail(err, SV_E_IO, "fd", "The inherited root key cannot be read: %s.",
                             strerror(errno))
                   : parse(line, (size_t)n, "The inherited descriptor", ret, err);
    seal_wipe(line, sizeof line);
    return rc;
}
