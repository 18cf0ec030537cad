/*  main.c - reads a JSON object a line, answers one a line: published test vectors against the code
 *  that the product itself runs. Every line has one answer, whatever is in it; memory is bounded by
 *  LINE_BYTES and ANSWER_BYTES. */
#include "error.h"
#include "op.h"
#include "sv_limits.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static const char help[] =
    "usage: samovar-vectors < REQUESTS > ANSWERS\n"
    "\n"
    "Reads one JSON object a line on standard input and answers one a line, in order, using the\n"
    "product's own code. For published test vectors; docs/vectors.md shows every member.\n"
    "\n"
    "  {\"op\":\"totp\"}     alg, secret_hex, time, step, digits        -> code\n"
    "  {\"op\":\"hotp\"}     alg, secret_hex, counter, digits           -> code\n"
    "  {\"op\":\"aead\"}     alg, key_hex, iv_hex, aad_hex, ct_hex, tag_hex -> msg_hex\n"
    "  {\"op\":\"jws\"}      key (a JWK), jws (compact)                 -> valid\n"
    "  {\"op\":\"msgpack\"}  hex                                        -> json, hex (canonical)\n"
    "  {\"op\":\"sse\"}      chunks_b64                                 -> events, last_event_id, "
    "retry\n"
    "  {\"op\":\"url\"}      url                                        -> verdict\n"
    "\n"
    "What the product has no code for is answered {\"skip\":true}: other operations and "
    "algorithms.\n"
    "What cannot be answered is {\"error\":\"why\"}. A line may have 4 MiB.\n"
    "\n"
    "url answers by the rules for URLs of tenants, as far as they go without a network: scheme, "
    "port,\n"
    "userinfo, spelling, and addresses that are not public. Any name but localhost is allowed "
    "here, "
    "since the\n"
    "product judges the addresses it stands for when it connects to one of them.\n";

static const struct {
    const char *name;
    op_function *run;
} ops[] = {
    {"aead", op_aead}, {"hotp", op_hotp}, {"jws", op_jws}, {"msgpack", op_msgpack},
    {"sse", op_sse},   {"totp", op_totp}, {"url", op_url},
};

static int answer_line(sv_str line, buf *answer, sv_error *err)
{
    int rc = json_skim(line, LIMIT_JSON_DEPTH, err);
    if (rc) return rc;
    json_value request = json_root(line), op = json_get(request, "op");
    if (request.type != JSON_OBJECT)
        return sv_fail(err, SV_E_WRONG_TYPE, NULL, "A line must be a JSON object.");
    if (op.type != JSON_STRING)
        return sv_fail(err, SV_E_INVALID, "op", "The member op must be a string.");
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (json_string_is(op, ops[i].name)) return ops[i].run(request, answer, err);
    return op_skip(answer);
}

static void put_error(buf *answer, const char *message)
{
    buf_putc(answer, '{');
    put_member(answer, "error", sv_cstr(message));
    buf_puts(answer, "}");
}

/* False when nobody reads the answers any more. */
static bool answer_to(sv_str line, bool too_long, buf *answer)
{
    sv_error err = {0};
    buf_reset(answer, 1 << 20);
    int rc = too_long ? sv_fail(&err, SV_E_TOO_LARGE, NULL, "The line is longer than 4 MiB.")
                      : answer_line(line, answer, &err);
    if (rc == 0 && answer->failed) rc = sv_fail(&err, answer->error, NULL, NULL);
    if (rc) {
        buf_reset(answer, 1 << 20);
        put_error(answer, err.message[0] ? err.message : sv_error_lookup(rc)->text);
    }
    if (buf_putc(answer, '\n')) return false;
    return fwrite(answer->p, 1, answer->n, stdout) == answer->n && fflush(stdout) == 0;
}

typedef struct input {
    buf line;
    bool too_long;
    bool begun; /* something of a line is there */
} input;

static void add(input *in, const char *p, size_t n)
{
    in->begun = true;
    if (!in->too_long && buf_put(&in->line, p, n)) in->too_long = true;
}

static bool end_line(input *in, buf *answer)
{
    bool goes_on = answer_to(buf_str(&in->line), in->too_long, answer);
    buf_reset(&in->line, 1 << 16);
    in->too_long = in->begun = false;
    return goes_on;
}

static bool take(input *in, const char *p, size_t n, buf *answer)
{
    while (n > 0) {
        const char *end = memchr(p, '\n', n);
        size_t len = end ? (size_t)(end - p) : n;
        add(in, p, len);
        if (end == NULL) return true;
        if (!end_line(in, answer)) return false;
        p += len + 1;
        n -= len + 1;
    }
    return true;
}

static int serve(void)
{
    char piece[65536];
    input in = {0};
    buf answer;
    buf_init(&in.line, LINE_BYTES);
    buf_init(&answer, ANSWER_BYTES);
    bool goes_on = true;
    ssize_t n;
    while (goes_on && (n = read(STDIN_FILENO, piece, sizeof piece)) != 0) {
        if (n > 0)
            goes_on = take(&in, piece, (size_t)n, &answer);
        else if (errno != EINTR)
            break;
    }
    if (goes_on && in.begun) goes_on = end_line(&in, &answer);
    buf_free(&in.line);
    buf_free(&answer);
    return goes_on ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        bool asked = argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
        fputs(help, asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    signal(SIGPIPE, SIG_IGN);
    return serve();
}
