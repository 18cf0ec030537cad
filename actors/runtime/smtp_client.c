/*  smtp_client.c - one easy handle and one connection for each delivery.
 *
 *  The server's answers come to the header callback line by line; the last one counts. The mail is
 *  the server's when it answers 2xx behind the end of the message and not otherwise: libcurl 7.88
 *  calls a transfer done although the answer there is 4xx or 5xx. At the end libcurl
 *  still says QUIT and waits for a word, also when the time is over: the progress callback ends
 *  that. */
#include "smtp_client.h"

#include "error.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

enum { FAREWELL_MS = 2000, GOODBYE = 221, LOGIN_FIRST = 530 };

typedef struct delivery {
    CURL *easy;
    struct curl_slist *to;
    sv_str left; /* of the message */
    const atomic_bool *stop;
    bool begun, sent; /* reading the message, all of it was read */
    bool accepted, stopped;
    int64_t accepted_ms, end_ms;
    int status;
    char answer[SMTP_WORDS + 1];
    char words[CURL_ERROR_SIZE];
} delivery;

int smtp_begin(sv_error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) return 0;
    return sv_fail(err, SV_E_INTERNAL, NULL, "libcurl cannot be initialised.");
}

void smtp_end(void)
{
    curl_global_cleanup();
}

/* ---- URLs ---- */

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcasecmp(host, "localhost") == 0) return true;
    if (inet_pton(AF_INET, host, &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* A part of the URL; false when there is none. */
static bool url_part(CURLU *u, CURLUPart what, char *to, size_t size)
{
    char *text = NULL;
    if (curl_url_get(u, what, &text, 0) != CURLUE_OK) return false;
    snprintf(to, size, "%s", text);
    curl_free(text);
    return true;
}

static int parse(CURLU *u, const char *url, smtp_url *ret, sv_error *err)
{
    static const char want[] = "A mail server is named as smtp://HOST:PORT or smtps://HOST:PORT.";
    char part[SMTP_HOST + 8];
    if (curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
        !url_part(u, CURLUPART_SCHEME, part, sizeof part))
        return sv_fail(err, SV_E_INVALID, NULL, want);
    ret->tls = strcmp(part, "smtps") == 0;
    if (!ret->tls && strcmp(part, "smtp") != 0) return sv_fail(err, SV_E_INVALID, NULL, want);
    if (url_part(u, CURLUPART_USER, part, sizeof part) ||
        url_part(u, CURLUPART_PASSWORD, part, sizeof part))
        return sv_fail(err, SV_E_INVALID, NULL,
                       "User and password of the mail server are settings of their own.");
    if ((url_part(u, CURLUPART_PATH, part, sizeof part) && strcmp(part, "/") != 0) ||
        url_part(u, CURLUPART_QUERY, part, sizeof part) ||
        url_part(u, CURLUPART_FRAGMENT, part, sizeof part))
        return sv_fail(err, SV_E_INVALID, NULL, want);
    if (!url_part(u, CURLUPART_HOST, part, sizeof part) || strlen(part) > SMTP_HOST)
        return sv_fail(err, SV_E_INVALID, NULL, want);
    size_t n = strlen(part);
    bool v6 = part[0] == '[' && part[n - 1] == ']';
    snprintf(ret->host, sizeof ret->host, "%.*s", (int)(v6 ? n - 2 : n), part + v6);
    ret->loopback = is_loopback(ret->host);
    return 0;
}

int smtp_url_parse(const char *url, smtp_url *ret, sv_error *err)
{
    *ret = (smtp_url){.tls = false};
    CURLU *u = curl_url();
    if (u == NULL) return sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    int rc = parse(u, url, ret, err);
    curl_url_cleanup(u);
    return rc;
}

/* ---- callbacks ---- */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void keep_printable(char *to, const char *from, size_t n)
{
    if (n > SMTP_WORDS) n = SMTP_WORDS;
    while (n > 0 && (uint8_t)from[n - 1] <= ' ')
        n--;
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] >= ' ' && from[i] < 0x7f ? from[i] : '?';
    to[n] = 0;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A line of an answer: "250-SIZE" goes on, "250 OK" is its last. What answers QUIT tells nothing. */
static size_t on_answer(char *line, size_t size, size_t items, void *arg)
{
    delivery *d = arg;
    size_t n = size * items;
    if (n < 4 || !digit(line[0]) || !digit(line[1]) || !digit(line[2]) || line[3] == '-') return n;
    int status = (line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0';
    if (status == GOODBYE) return n;
    d->status = status;
    keep_printable(d->answer, line, n);
    if (d->sent && !d->accepted && d->status / 100 == 2) {
        d->accepted = true;
        d->accepted_ms = now_ms();
    }
    return n;
}

static size_t on_read(char *to, size_t size, size_t items, void *arg)
{
    delivery *d = arg;
    size_t n = size * items;
    d->begun = true;
    if (n > d->left.n) n = d->left.n;
    if (n) memcpy(to, d->left.p, n);
    d->left.p += n;
    d->left.n -= (uint32_t)n;
    d->sent = d->left.n == 0;
    return n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t e)
{
    (void)a, (void)b, (void)c, (void)e;
    delivery *d = arg;
    int64_t now = now_ms();
    if (d->accepted) return now - d->accepted_ms > FAREWELL_MS;
    if (now > d->end_ms) return 1;
    d->stopped = !d->sent && atomic_load(d->stop);
    return d->stopped;
}

static size_t on_body(char *bytes, size_t size, size_t items, void *arg)
{
    (void)bytes, (void)arg;
    return size * items;
}

/* ---- one delivery ---- */

static bool set_connection(CURL *e, const smtp_server *s)
{
    static const long ssl[] = {[SMTP_REQUIRED] = CURLUSESSL_ALL,
                               [SMTP_OPPORTUNISTIC] = CURLUSESSL_TRY,
                               [SMTP_OFF] = CURLUSESSL_NONE};
    char url[SMTP_HOST + SMTP_HOST + 32];
    size_t n = strlen(s->url);
    while (n > 0 && s->url[n - 1] == '/')
        n--;
    if (snprintf(url, sizeof url, "%.*s/%s", (int)n, s->url, s->helo) >= (int)sizeof url)
        return false;
    bool ok = true;
#define SET(option, value) ok = curl_easy_setopt(e, option, value) == CURLE_OK && ok
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_FORBID_REUSE, 1L);
    SET(CURLOPT_USE_SSL, ssl[s->starttls]);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (s->ca_file) {
        SET(CURLOPT_CAINFO, s->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (s->user) {
        SET(CURLOPT_USERNAME, s->user);
        SET(CURLOPT_PASSWORD, s->password);
    }
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)s->connect_ms);
    SET(CURLOPT_TIMEOUT_MS, (long)s->total_ms);
#undef SET
    return ok;
}

static bool set_mail(delivery *d, const smtp_mail *m)
{
    CURL *e = d->easy;
    d->to = curl_slist_append(NULL, m->to);
    bool ok = d->to != NULL;
#define SET(option, value) ok = curl_easy_setopt(e, option, value) == CURLE_OK && ok
    SET(CURLOPT_MAIL_FROM, m->from);
    SET(CURLOPT_MAIL_RCPT, d->to);
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, d);
    SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)m->message.n);
    SET(CURLOPT_HEADERFUNCTION, on_answer);
    SET(CURLOPT_HEADERDATA, d);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, d);
    SET(CURLOPT_ERRORBUFFER, d->words);
#undef SET
    return ok;
}

/* An answer 5xx is about the mail when it comes to MAIL, RCPT, DATA (a send error for libcurl) or to
 * the message. Before that it is about us or the server, which the operator can mend. */
static void judge(const delivery *d, CURLcode rc, smtp_result *ret)
{
    ret->status = d->status;
    ret->words[0] = 0;
    if (d->accepted) {
        ret->outcome = SMTP_ACCEPTED;
        return;
    }
    bool bad = d->status >= 400;
    bool of_mail = (rc == CURLE_SEND_ERROR || d->begun) && d->status != LOGIN_FIRST;
    ret->outcome = d->stopped                        ? SMTP_STOPPED
                   : of_mail && d->status / 100 == 5 ? SMTP_REFUSED
                                                     : SMTP_LATER;
    /* A server may repeat what it was told: not behind a login. */
    char text[CURL_ERROR_SIZE];
    snprintf(text, sizeof text, "%s",
             rc == CURLE_LOGIN_DENIED ? "The server refused the login."
             : bad                    ? d->answer
             : rc == CURLE_OK         ? "The mail server did not answer the message."
             : d->words[0]            ? d->words
                                      : curl_easy_strerror(rc));
    keep_printable(ret->words, text, strlen(text));
}

void smtp_deliver(const smtp_server *s, const smtp_mail *m, const atomic_bool *stop,
                  smtp_result *ret)
{
    delivery d = {.easy = curl_easy_init(),
                  .left = m->message,
                  .stop = stop,
                  .end_ms = now_ms() + s->total_ms};
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    if (d.easy && set_connection(d.easy, s) && set_mail(&d, m)) rc = curl_easy_perform(d.easy);
    judge(&d, rc, ret);
    curl_easy_cleanup(d.easy);
    curl_slist_free_all(d.to);
}
