/*  error_report.c - Sentry's envelope: a line about the envelope, a line about the item, the event.
 *  https://develop.sentry.dev/sdk/data-model/envelopes/ */
#include "error_report.h"

#include "buf.h"
#include "error.h"
#include "http_client.h"
#include "json_scan.h"
#include "log.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    URL_BYTES = 512,
    KEY_BYTES = 128,
    WORDS_BYTES = 200,
    SAME = 64,
    MINUTE_US = 60000000,
    CONNECT_MS = 5000,
    TOTAL_MS = 15000,
    ANSWER_BYTES = 65536
};

struct error_report {
    loop *l;
    http_client *http;
    char url[URL_BYTES], auth[KEY_BYTES + 96];
    buf waiting[REPORT_WAITING];
    uint32_t first, n;
    http_transfer *sending;
    uint64_t minute_us;
    uint32_t in_minute;
    uint64_t passed_over;
    struct {
        char words[WORDS_BYTES + 1];
        uint64_t at_us;
    } same[SAME];
    uint32_t same_next;
};

/* ---- the address ---- */

static bool is_plain(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
            return false;
    }
    return n > 0;
}

static int read_dsn(error_report *r, const char *dsn, sv_error *err)
{
    const char *key = strstr(dsn, "://"), *at = key ? strchr(key, '@') : NULL;
    const char *project = at ? strrchr(at, '/') : NULL;
    if (key) key += 3;
    bool ok = project && project > at + 1 && at - key < KEY_BYTES &&
              is_plain(key, (size_t)(at - key)) && is_plain(project + 1, strlen(project + 1));
    if (ok) {
        int n = snprintf(r->url, sizeof r->url, "%.*s%.*s/api/%s/envelope/", (int)(key - dsn), dsn,
                         (int)(project - at - 1), at + 1, project + 1);
        snprintf(
            r->auth, sizeof r->auth,
            "X-Sentry-Auth: Sentry sentry_version=7, sentry_client=samovar/%s, sentry_key=%.*s",
            SAMOVAR_VERSION, (int)(at - key), key);
        ok = n > 0 && (size_t)n < sizeof r->url &&
             http_url_check(r->url, HTTP_TRUST_OPERATOR, NULL) == 0;
    }
    if (ok) return 0;
    return sv_fail(err, SV_E_CONFIG, "errors.dsn",
                   "errors.dsn must look like https://PUBLIC_KEY@sentry.example.org/PROJECT.");
}

/* ---- sending ---- */

static void send_next(error_report *r);

static bool on_data(void *arg, sv_str bytes)
{
    (void)arg;
    (void)bytes;
    return true;
}

static void on_head(void *arg, const http_head *head)
{
    (void)arg;
    if (head->status >= 400)
        log_write(LOG_WARN, "an error report was refused", LOG_INT("status", head->status));
}

static void on_done(void *arg, int code, const sv_error *err)
{
    error_report *r = arg;
    r->sending = NULL;
    if (code) log_write(LOG_WARN, "an error report could not be delivered", LOG_ERR(err));
    buf_free(&r->waiting[r->first]);
    r->first = (r->first + 1) % REPORT_WAITING;
    r->n--;
    send_next(r);
}

static void send_next(error_report *r)
{
    static const http_events events = {.head = on_head, .data = on_data, .done = on_done};
    sv_error err = {.code = 0};
    while (r->n && r->sending == NULL) {
        const char *headers[] = {"Content-Type: application/x-sentry-envelope", r->auth, NULL};
        http_spec spec = {.method = "POST",
                          .url = r->url,
                          .trust = HTTP_TRUST_OPERATOR,
                          .headers = headers,
                          .body = buf_str(&r->waiting[r->first]),
                          .connect_ms = CONNECT_MS,
                          .total_ms = TOTAL_MS,
                          .max_body = ANSWER_BYTES};
        r->sending = http_start(r->http, &spec, &events, r, &err);
        if (r->sending) return;
        buf_free(&r->waiting[r->first]);
        r->first = (r->first + 1) % REPORT_WAITING;
        r->n--;
    }
}

/* ---- events ---- */

static bool may_go(error_report *r, const char *words)
{
    uint64_t now_us = loop_now_us(r->l);
    for (uint32_t i = 0; i < SAME; i++)
        if (strcmp(r->same[i].words, words) == 0 && r->same[i].at_us &&
            now_us - r->same[i].at_us < (uint64_t)REPORT_SAME_MS * 1000)
            return false;
    if (now_us - r->minute_us >= MINUTE_US) {
        r->minute_us = now_us;
        r->in_minute = 0;
    }
    if (r->in_minute == REPORT_MINUTE || r->n == REPORT_WAITING) return false;
    r->in_minute++;
    snprintf(r->same[r->same_next].words, sizeof r->same[0].words, "%s", words);
    r->same[r->same_next].at_us = now_us;
    r->same_next = (r->same_next + 1) % SAME;
    return true;
}

/* Text of a member, or "". */
static const char *text_of(json_value object, const char *name, buf *scratch)
{
    buf_reset(scratch, scratch->cap);
    json_value v = json_get(object, name);
    if (v.type != JSON_STRING || json_text(v, scratch) || buf_putc(scratch, 0)) return "";
    return scratch->p;
}

static void put(buf *out, const char *name, const char *value)
{
    buf_printf(out, "\"%s\":\"", name);
    buf_json_escape(out, sv_cstr(value));
    buf_putc(out, '"');
}

static void put_event(error_report *r, json_value line, const char *words, buf *event)
{
    char id[33];
    sv_id uuid = uuid_new();
    buf scratch;
    int64_t instance = 0;
    buf_init(&scratch, 1024);
    hex_format(&uuid, sizeof uuid, id);
    json_int(json_get(line, "instance"), &instance);
    buf_printf(event,
               "{\"event_id\":\"%s\",\"timestamp\":%.3f,\"platform\":\"native\","
               "\"level\":\"error\",\"release\":\"samovar@%s\",",
               id, (double)loop_unix_us(r->l) / 1e6, SAMOVAR_VERSION);
    put(event, "logger", text_of(line, "service", &scratch));
    buf_puts(event, ",\"message\":{");
    put(event, "formatted", words);
    buf_puts(event, "},\"fingerprint\":[");
    buf_putc(event, '"');
    buf_json_escape(event, sv_cstr(words));
    buf_puts(event, "\"],\"tags\":{");
    put(event, "service", text_of(line, "service", &scratch));
    buf_printf(event, ",\"instance\":\"%lld\",", (long long)instance);
    put(event, "code", text_of(json_get(line, "error"), "code", &scratch));
    buf_putc(event, ',');
    put(event, "child", text_of(line, "child", &scratch));
    buf_putc(event, ',');
    put(event, "end", text_of(line, "end", &scratch));
    buf_printf(event, "},\"extra\":{\"passed_over\":%llu}}", (unsigned long long)r->passed_over);
    buf_free(&scratch);
}

static void take(error_report *r, json_value line)
{
    buf words, event;
    buf_init(&words, WORDS_BYTES + 1);
    buf_init(&event, 8192);
    const char *text = text_of(line, "event", &words);
    /* What a process wrote outside its log is not ours to pass on. */
    if (text[0] == 0 || strcmp(text, "output") == 0 || !may_go(r, text)) {
        r->passed_over++;
    } else {
        put_event(r, line, text, &event);
        buf *to = &r->waiting[(r->first + r->n++) % REPORT_WAITING];
        buf_init(to, 16384);
        buf_printf(to, "{}\n{\"type\":\"event\",\"length\":%zu}\n", event.n);
        buf_put(to, event.p, event.n);
        buf_putc(to, '\n');
        r->passed_over = 0;
        send_next(r);
    }
    buf_free(&words);
    buf_free(&event);
}

void error_report_line(error_report *r, sv_str line)
{
    static const char mark[] = "\"level\":\"error\"";
    if (r == NULL || memmem(line.p, line.n, mark, sizeof mark - 1) == NULL) return;
    if (json_skim(line, 16, NULL)) return;
    json_value root = json_root(line);
    if (json_string_is(json_get(root, "level"), "error")) take(r, root);
}

/* ---- life ---- */

int error_report_new(loop *l, const char *dsn, error_report **ret, sv_error *err)
{
    error_report *r = calloc(1, sizeof *r);
    if (r == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    r->l = l;
    int rc = read_dsn(r, dsn, err);
    if (rc == 0) {
        r->http = http_client_new(l, 1, err);
        if (r->http == NULL) rc = SV_E_NO_MEMORY;
    }
    if (rc) {
        error_report_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void error_report_free(error_report *r)
{
    if (r == NULL) return;
    if (r->sending) http_cancel(r->sending);
    http_client_free(r->http);
    for (uint32_t i = 0; i < r->n; i++)
        buf_free(&r->waiting[(r->first + i) % REPORT_WAITING]);
    free(r);
}
