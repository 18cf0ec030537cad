/*  cmd_logs.c - `samovar logs` and `samovar stop`: the commands that only need the supervisor. */
#include "commands.h"

#include "error.h"
#include "human_log.h"
#include "json_scan.h"
#include "platform.h"
#include "run_folder.h"
#include "status_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { STOP_SLACK_MS = 5000, LINE_MAX_BYTES = 131072 };

typedef struct printer {
    bool human, colour;
    int exit_code;
} printer;

static void print_line(printer *p, sv_str answer)
{
    buf child, line, out;
    json_value error, ms;
    int64_t unix_ms = 0;
    if (json_skim(answer, 8, NULL)) return;
    json_value root = json_root(answer);
    buf_init(&child, 256);
    buf_init(&line, LINE_MAX_BYTES);
    buf_init(&out, 2 * LINE_MAX_BYTES);
    error = json_get(root, "error");
    ms = json_get(root, "ms");
    if (error.type == JSON_STRING && json_string(error, &line) == 0) {
        fprintf(stderr, "samovar: %.*s\n", (int)line.n, line.p);
        p->exit_code = CLI_FAILED;
    } else if (json_int(ms, &unix_ms) == 0 && json_string(json_get(root, "child"), &child) == 0 &&
               json_string(json_get(root, "line"), &line) == 0 && buf_putc(&child, 0) == 0) {
        if (p->human)
            human_log_line(buf_str(&line), child.p, (uint64_t)unix_ms, p->colour, &out);
        else
            json_log_line(buf_str(&line), child.p, (uint64_t)unix_ms, &out);
        if (fwrite(out.p, 1, out.n, stdout) != out.n) p->exit_code = CLI_FAILED;
    }
    buf_free(&child);
    buf_free(&line);
    buf_free(&out);
}

/* Until the supervisor closes, or the reader of our output is gone. */
static void print_all(int fd, printer *p)
{
    buf in;
    buf_init(&in, LINE_MAX_BYTES);
    char data[16384];
    ssize_t n;
    while ((n = recv(fd, data, sizeof data, 0)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0) continue;
        if (buf_put(&in, data, (size_t)n)) {
            p->exit_code = CLI_FAILED;
            break;
        }
        size_t from = 0;
        for (const char *newline; (newline = memchr(in.p + from, '\n', in.n - from)) != NULL;
             from = (size_t)(newline - in.p) + 1)
            print_line(p, (sv_str){in.p + from, (uint32_t)((size_t)(newline - in.p) - from)});
        buf_consume(&in, from);
        if (fflush(stdout)) {
            p->exit_code = CLI_FAILED;
            break;
        }
    }
    buf_free(&in);
}

int cmd_logs(int argc, char **argv)
{
    bool follow = false;
    const char *lines = NULL, *output = NULL;
    const args_option options[] = {
        {'f', "follow", NULL, "go on with new lines until Ctrl-C", NULL, &follow},
        {'n', "lines", "N", "last N lines (default: all that are kept, 1000 a process)", &lines,
         NULL},
        {'o', "output", "human|json", "default: human on a terminal, else json", &output, NULL}};
    const args_spec spec = {"samovar logs",
                            "[SERVICE/N]",
                            "Prints the last log lines of one process, or of all.",
                            "example: samovar logs -f router/1\n"
                            "exit codes: 0 printed, 1 nothing runs there or no such process",
                            options,
                            3,
                            0,
                            1};
    args words;
    int exit_code, fd;
    uint64_t n = 1000000;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if ((lines && args_number(lines, 0, 1000000, &n)) ||
        (output && strcmp(output, "human") != 0 && strcmp(output, "json") != 0)) {
        fprintf(stderr, "samovar logs: -n takes a number up to 1000000, -o takes human or json\n");
        return CLI_USAGE;
    }
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    buf request;
    buf_init(&request, 512);
    buf_printf(&request, "{\"cmd\":\"logs\",\"lines\":%llu,\"follow\":%s", (unsigned long long)n,
               follow ? "true" : "false");
    if (words.n) {
        buf_puts(&request, ",\"child\":\"");
        buf_json_escape(&request, sv_cstr(words.word[0]));
        buf_puts(&request, "\"");
    }
    buf_puts(&request, "}");
    buf_putc(&request, 0);
    sv_error err = {.code = 0};
    bool terminal = isatty(STDOUT_FILENO);
    printer p = {.human = output ? strcmp(output, "human") == 0 : terminal,
                 .colour = terminal && getenv("NO_COLOR") == NULL};
    if (request.failed) sv_fail(&err, SV_E_INVALID, NULL, "The name of the process is too long");
    if (err.code || status_connect(c, request.p, &fd, &err)) {
        cli_complain(&err);
        p.exit_code = CLI_FAILED;
    } else {
        struct timeval forever = {.tv_sec = 0};
        if (follow) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
        print_all(fd, &p);
        close(fd);
    }
    buf_free(&request);
    config_free(c);
    return p.exit_code;
}

int cmd_stop(int argc, char **argv)
{
    const args_spec spec = {
        "samovar stop",
        "",
        "Stops the platform of this data folder in order and waits for its end.",
        "exit codes: 0 stopped, 1 nothing runs there or it does not stop",
        NULL,
        0,
        0,
        0};
    args words;
    int exit_code;
    config *c = NULL;
    sv_error err = {.code = 0};
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    buf answer;
    buf_init(&answer, 4096);
    if (status_ask(c, "{\"cmd\":\"stop\"}", &answer, &err)) {
        cli_complain(&err);
        exit_code = CLI_FAILED;
    } else {
        int64_t left_ms = 3 * config_int(c, "supervisor.stop_ms") + STOP_SLACK_MS;
        for (; left_ms > 0 && run_folder_held(c); left_ms -= 20)
            poll(NULL, 0, 20);
        exit_code = left_ms > 0 ? CLI_OK : CLI_FAILED;
        if (exit_code)
            fprintf(stderr, "samovar: it does not stop; `samovar stop` again kills it\n");
    }
    buf_free(&answer);
    config_free(c);
    return exit_code;
}
