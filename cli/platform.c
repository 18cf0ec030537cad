/*  platform.c - small things that the commands share. */
#include "platform.h"

#include "error.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

bool cli_args(const args_spec *spec, int argc, char **argv, args *ret, int *ret_exit)
{
    buf text;
    buf_init(&text, 65536);
    args_result rc = args_parse(spec, argc, argv, ret, &text);
    if (rc == ARGS_WRONG) fprintf(stderr, "%.*s\n", (int)text.n, text.p);
    if (rc == ARGS_HELP) {
        args_help(spec, &text);
        fwrite(text.p, 1, text.n, stdout);
    }
    buf_free(&text);
    *ret_exit = rc == ARGS_HELP ? CLI_OK : CLI_USAGE;
    return rc == ARGS_RUN;
}

int cli_complain(const sv_error *err)
{
    fprintf(stderr, "samovar: %s: %s%s%s%s\n", sv_error_lookup(err->code)->name, err->message,
            err->detail[0] ? " (" : "", err->detail, err->detail[0] ? ")" : "");
    return CLI_FAILED;
}

int cli_config(const char *file, config **ret)
{
    sv_error err = {.code = 0};
    int rc = config_load(file, ret, &err);
    if (rc == 0) return 0;
    fprintf(stderr, "samovar: %s\n", err.message);
    if (err.detail[0] && strcmp(err.detail, err.message) != 0) fprintf(stderr, "%s\n", err.detail);
    return rc;
}

bool cli_output(const char *word, bool *ret_json)
{
    *ret_json = word && strcmp(word, "json") == 0;
    if (word == NULL || *ret_json || strcmp(word, "table") == 0) return true;
    fprintf(stderr, "samovar: -o %s: allowed are table and json\n", word);
    return false;
}

bool platform_path(const config *c, const char *name, char path[PLATFORM_PATH])
{
    return snprintf(path, PLATFORM_PATH, "%s/%s", config_run(c), name) < PLATFORM_PATH;
}

static int64_t port_from_file(const config *c)
{
    char path[PLATFORM_PATH];
    int port = 0;
    FILE *f = platform_path(c, "edge.port", path) ? fopen(path, "re") : NULL;
    if (f == NULL) return 0;
    if (fscanf(f, "%d", &port) != 1) port = 0;
    fclose(f);
    return port;
}

void platform_url(const config *c, char *url, size_t size)
{
    const char *host = config_str(c, "edge.host");
    int64_t port = config_int(c, "edge.port");
    if (port == 0) port = port_from_file(c);
    bool v6 = strchr(host, ':') != NULL;
    if (port == 0)
        snprintf(url, size, "%s", "");
    else
        snprintf(url, size, "%s://%s%s%s:%d", config_str(c, "edge.tls_cert") ? "https" : "http",
                 v6 ? "[" : "", host, v6 ? "]" : "", (int)port);
}

bool platform_bin(char path[PLATFORM_PATH])
{
    const char *bin = getenv("SAMOVAR_BIN");
    if (bin && bin[0]) return snprintf(path, PLATFORM_PATH, "%s", bin) < PLATFORM_PATH;
    ssize_t n = readlink("/proc/self/exe", path, PLATFORM_PATH - 1);
    if (n <= 0) return false;
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (slash == NULL) return false;
    *slash = 0;
    return true;
}

int platform_port_free(const char *host, uint16_t port, sv_error *err)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *list = NULL;
    snprintf(service, sizeof service, "%u", port);
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc)
        return sv_fail(err, SV_E_IO, "edge.host", "The address %s cannot be used: %s.", host,
                       gai_strerror(rc));
    int on = 1;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, 1) == 0;
    int saved = errno;
    if (fd >= 0) close(fd);
    freeaddrinfo(list);
    if (ok) return 0;
    if (saved == EADDRINUSE)
        return sv_fail(err, SV_E_CONFLICT, "edge.port",
                       "Port %u on %s is in use. Stop the program that holds it (ss -ltnp 'sport = "
                       ":%u' names it) or choose another: SAMOVAR_PORT=%u",
                       port, host, port, port == 65535 ? 7421 : port + 1);
    return sv_fail(err, SV_E_IO, "edge.port", "Port %u on %s cannot be opened: %s.", port, host,
                   strerror(saved));
}
