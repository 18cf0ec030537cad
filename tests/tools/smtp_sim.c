/*  smtp_sim.c - a mail server on loopback that keeps what it gets in a folder and misbehaves on
 *  demand.
 *
 *  EHLO, HELO, STARTTLS, AUTH PLAIN and LOGIN, MAIL, RCPT, DATA, RSET, NOOP, QUIT. An accepted mail is
 *  FOLDER/N.eml, its bytes behind dot-unstuffing, beside FOLDER/N.env: a line with sender,
 *  recipient, "tls" or "plain", user or "-", and the name of EHLO. N counts from 1.
 *
 *  The file FOLDER/fault, when it is there, says what goes wrong: "NAME COUNT", COUNT 0 for ever.
 *  Each time the fault strikes the count goes down; the file goes with the last one.
 *    greet_5xx   554 instead of a greeting          hang_greet  no greeting
 *    mail_4xx    451 to MAIL                        rcpt_4xx    451 to RCPT
 *    rcpt_5xx    550 to RCPT                        auth_4xx    454 to AUTH
 *    data_4xx    452 behind the message             data_5xx    554 behind the message
 *    hang_data   no answer behind the message       drop_data   closed in the middle of the message
 *    drop_after  the mail is kept and the connection closed instead of 250
 *    hang_quit   no answer to QUIT
 *
 *  Prints "port N" when ready. A thread for each connection; ends with SIGTERM. */
#include "net.h"
#include "opts.h"

#include "buf.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE = 2048, MAIL_MAX = 1 << 20, PATIENCE_MS = 60000 };

typedef struct conn {
    int fd;
    SSL *tls; /* NULL: in the clear */
    buf in;   /* not used up */
    bool esmtp, authenticated;
    char helo[256], from[256], to[256], user[128];
    buf mail;
} conn;

static int64_t port;
static const char *folder = NULL, *cert = NULL, *key = NULL, *user = NULL, *password = NULL;
static bool tls_first, no_starttls;
static SSL_CTX *tls_context;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int mails;

/* ---- faults ---- */

/* Does it strike now? */
static bool fault(const char *name)
{
    char path[4200], word[32] = "";
    int count = 0;
    bool strikes = false;
    snprintf(path, sizeof path, "%s/fault", folder);
    pthread_mutex_lock(&lock);
    FILE *f = fopen(path, "r");
    if (f) {
        strikes = fscanf(f, "%31s %d", word, &count) == 2 && strcmp(word, name) == 0;
        fclose(f);
    }
    if (strikes && count == 1) unlink(path);
    if (strikes && count > 1 && (f = fopen(path, "w"))) {
        fprintf(f, "%s %d\n", name, count - 1);
        fclose(f);
    }
    pthread_mutex_unlock(&lock);
    return strikes;
}

/* Until the client gives up. */
static void hang(const conn *c)
{
    struct pollfd p = {c->fd, POLLIN | POLLRDHUP, 0};
    char byte;
    while (poll(&p, 1, PATIENCE_MS) > 0 && recv(c->fd, &byte, 1, 0) > 0)
        ;
}

/* ---- bytes ---- */

static bool say(conn *c, const char *text)
{
    size_t n = strlen(text);
    if (c->tls) return SSL_write(c->tls, text, (int)n) == (int)n;
    while (n > 0) {
        ssize_t k = send(c->fd, text, n, MSG_NOSIGNAL);
        if (k <= 0) return false;
        text += k;
        n -= (size_t)k;
    }
    return true;
}

static bool more(conn *c)
{
    char piece[16384];
    struct pollfd p = {c->fd, POLLIN, 0};
    if ((c->tls == NULL || SSL_pending(c->tls) == 0) && poll(&p, 1, PATIENCE_MS) <= 0) return false;
    ssize_t n =
        c->tls ? SSL_read(c->tls, piece, sizeof piece) : recv(c->fd, piece, sizeof piece, 0);
    return n > 0 && buf_put(&c->in, piece, (size_t)n) == 0;
}

/* A line without its CR LF. A bare LF is part of it: lines end as RFC 5321 says. */
static bool read_line(conn *c, char *to, size_t size)
{
    char *end;
    while ((end = c->in.n ? memmem(c->in.p, c->in.n, "\r\n", 2) : NULL) == NULL)
        if (c->in.n > MAIL_MAX || !more(c)) return false;
    size_t n = (size_t)(end - c->in.p), kept = n < size ? n : size - 1;
    memcpy(to, c->in.p, kept);
    to[kept] = 0;
    buf_consume(&c->in, n + 2);
    return true;
}

static bool start_tls(conn *c)
{
    c->tls = SSL_new(tls_context);
    buf_reset(&c->in, 0); /* what came in the clear counts for nothing */
    if (c->tls && SSL_set_fd(c->tls, c->fd) == 1 && SSL_accept(c->tls) == 1) return true;
    ERR_clear_error();
    return false;
}

/* ---- login ---- */

static bool from_base64(const char *text, char *to, size_t size, size_t *ret_n)
{
    return sodium_base642bin((unsigned char *)to, size - 1, text, strlen(text), NULL, ret_n, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0;
}

static bool is_right(conn *c, const char *name, const char *secret)
{
    snprintf(c->user, sizeof c->user, "%s", name);
    return user && strcmp(name, user) == 0 && strcmp(secret, password) == 0;
}

static bool login_plain(conn *c, const char *text)
{
    char bytes[LINE] = "";
    size_t n;
    if (!from_base64(text, bytes, sizeof bytes, &n)) return false;
    bytes[n] = 0;
    char *name = memchr(bytes, 0, n);
    char *secret = name ? memchr(name + 1, 0, n - (size_t)(name + 1 - bytes)) : NULL;
    return secret && is_right(c, name + 1, secret + 1);
}

static bool read_word(conn *c, const char *ask, char *to, size_t size)
{
    char line[LINE];
    size_t n;
    if (!say(c, ask) || !read_line(c, line, sizeof line) || !from_base64(line, to, size, &n))
        return false;
    to[n] = 0;
    return true;
}

static bool auth(conn *c, const char *words)
{
    char name[256], secret[256], line[LINE];
    bool right = false;
    if (fault("auth_4xx")) return say(c, "454 4.7.0 Not now\r\n");
    if (strncasecmp(words, "PLAIN ", 6) == 0)
        right = login_plain(c, words + 6);
    else if (strcasecmp(words, "PLAIN") == 0)
        right = say(c, "334 \r\n") && read_line(c, line, sizeof line) && login_plain(c, line);
    else if (strcasecmp(words, "LOGIN") == 0)
        right = read_word(c, "334 VXNlcm5hbWU6\r\n", name, sizeof name) &&
                read_word(c, "334 UGFzc3dvcmQ6\r\n", secret, sizeof secret) &&
                is_right(c, name, secret);
    c->authenticated = right;
    return say(c, right ? "235 2.7.0 Welcome\r\n" : "535 5.7.8 Wrong user or password\r\n");
}

/* ---- the mail ---- */

static bool keep(conn *c)
{
    char path[4300], final[4300];
    pthread_mutex_lock(&lock);
    int number = mails + 1;
    snprintf(path, sizeof path, "%s/%d.env", folder, number);
    FILE *f = fopen(path, "w");
    if (f) {
        fprintf(f, "%s %s %s %s %s\n", c->from, c->to, c->tls ? "tls" : "plain",
                c->authenticated ? c->user : "-", c->helo);
        fclose(f);
    }
    snprintf(path, sizeof path, "%s/.%d.eml", folder, number);
    snprintf(final, sizeof final, "%s/%d.eml", folder, number);
    f = fopen(path, "w");
    bool ok = f && fwrite(c->mail.p, 1, c->mail.n, f) == c->mail.n;
    if (f) ok = fclose(f) == 0 && ok;
    ok = ok && rename(path, final) == 0;
    mails += ok;
    pthread_mutex_unlock(&lock);
    return ok;
}

static bool data(conn *c)
{
    char line[LINE];
    bool drop = fault("drop_data");
    buf_reset(&c->mail, 0);
    if (!say(c, "354 Go ahead\r\n")) return false;
    for (;;) {
        if (!read_line(c, line, sizeof line) || drop) return false;
        if (strcmp(line, ".") == 0) break;
        if (c->mail.n > MAIL_MAX) return false;
        buf_printf(&c->mail, "%s\r\n", line + (line[0] == '.'));
    }
    if (fault("hang_data")) {
        hang(c);
        return false;
    }
    if (fault("data_4xx")) return say(c, "452 4.3.1 No room\r\n");
    if (fault("data_5xx")) return say(c, "554 5.7.1 Looks like advertising\r\n");
    if (!keep(c)) return say(c, "451 4.3.0 It cannot be kept\r\n");
    if (fault("drop_after")) return false;
    return say(c, "250 2.0.0 Taken\r\n");
}

/* ---- commands ---- */

/* The address of "FROM:<a@b> SIZE=1". */
static void address_of(const char *words, char *to, size_t size)
{
    const char *open = strchr(words, '<'), *end = open ? strchr(open, '>') : NULL;
    snprintf(to, size, "%.*s", end ? (int)(end - open - 1) : 0, end ? open + 1 : "");
}

static bool hello(conn *c, const char *name, bool esmtp)
{
    char text[512];
    snprintf(c->helo, sizeof c->helo, "%s", name);
    c->esmtp = esmtp;
    if (!esmtp) return say(c, "250 sim\r\n");
    snprintf(text, sizeof text, "250-sim\r\n250-8BITMIME\r\n%s%s250 SIZE %d\r\n",
             tls_context && !c->tls && !no_starttls ? "250-STARTTLS\r\n" : "",
             user ? "250-AUTH PLAIN LOGIN\r\n" : "", MAIL_MAX);
    return say(c, text);
}

static bool mail_from(conn *c, const char *words)
{
    if (fault("mail_4xx")) return say(c, "451 4.3.0 Try again\r\n");
    if (user && !c->authenticated) return say(c, "530 5.7.0 Log in first\r\n");
    address_of(words, c->from, sizeof c->from);
    return say(c, "250 2.1.0 Ok\r\n");
}

static bool rcpt_to(conn *c, const char *words)
{
    if (fault("rcpt_4xx")) return say(c, "451 4.7.1 Greylisted\r\n");
    if (fault("rcpt_5xx")) return say(c, "550 5.1.1 No such user\r\n");
    address_of(words, c->to, sizeof c->to);
    return say(c, "250 2.1.5 Ok\r\n");
}

static bool quit(conn *c)
{
    if (fault("hang_quit"))
        hang(c);
    else
        say(c, "221 2.0.0 Bye\r\n");
    return false;
}

/* False when the connection is over. */
static bool obey(conn *c, char *line)
{
    char *words = strchr(line, ' ');
    if (words) *words++ = 0;
    if (words == NULL) words = line + strlen(line);
    if (strcasecmp(line, "EHLO") == 0) return hello(c, words, true);
    if (strcasecmp(line, "HELO") == 0) return hello(c, words, false);
    if (strcasecmp(line, "STARTTLS") == 0 && tls_context && !c->tls)
        return say(c, "220 2.0.0 Go ahead\r\n") && start_tls(c);
    if (strcasecmp(line, "AUTH") == 0) return auth(c, words);
    if (strcasecmp(line, "MAIL") == 0) return mail_from(c, words);
    if (strcasecmp(line, "RCPT") == 0) return rcpt_to(c, words);
    if (strcasecmp(line, "DATA") == 0) return data(c);
    if (strcasecmp(line, "RSET") == 0 || strcasecmp(line, "NOOP") == 0)
        return say(c, "250 2.0.0 Ok\r\n");
    if (strcasecmp(line, "QUIT") == 0) return quit(c);
    return say(c, "502 5.5.2 Not known\r\n");
}

static void *serve_connection(void *arg)
{
    conn *c = arg;
    char line[LINE];
    bool go_on = !tls_first || start_tls(c);
    if (go_on && fault("hang_greet")) {
        hang(c);
        go_on = false;
    }
    if (go_on && fault("greet_5xx")) {
        say(c, "554 5.7.1 Not for you\r\n");
        go_on = false;
    }
    go_on = go_on && say(c, "220 sim ESMTP\r\n");
    while (go_on && read_line(c, line, sizeof line))
        go_on = obey(c, line);
    SSL_free(c->tls);
    close(c->fd);
    buf_free(&c->in);
    buf_free(&c->mail);
    free(c);
    return NULL;
}

/* ---- the tool ---- */

static void make_context(void)
{
    if (cert == NULL) return;
    tls_context = SSL_CTX_new(TLS_server_method());
    if (tls_context == NULL || SSL_CTX_use_certificate_chain_file(tls_context, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_context, key ? key : cert, SSL_FILETYPE_PEM) != 1)
        die("the certificate %s cannot be used", cert);
}

int main(int argc, char **argv)
{
    const opt table[] = {
        {"port", OPT_INT, &port, 0, 65535, "port on 127.0.0.1; 0: a free one"},
        {"folder", OPT_STR, &folder, 0, 0, "where mails are kept and faults are read"},
        {"cert", OPT_STR, &cert, 0, 0, "PEM file with a certificate: STARTTLS is offered"},
        {"key", OPT_STR, &key, 0, 0, "PEM file with its key"},
        {"tls", OPT_FLAG, &tls_first, 0, 0, "TLS from the first byte"},
        {"no-starttls", OPT_FLAG, &no_starttls, 0, 0, "STARTTLS is not offered"},
        {"user", OPT_STR, &user, 0, 0, "a login is needed, of this user"},
        {"password", OPT_STR, &password, 0, 0, "with this password"},
    };
    opts_parse(argc, argv, "A mail server that keeps what it gets, for tests.", table, 8);
    if (folder == NULL) die("--folder is missing");
    if ((user == NULL) != (password == NULL)) die("--user and --password go together");
    if (tls_first && cert == NULL) die("--tls needs --cert");
    make_context();
    uint16_t number = (uint16_t)port;
    int listener = net_listen(&number);
    if (listener < 0) die("cannot listen: %s", strerror(errno));
    fcntl(listener, F_SETFL, 0);
    signal(SIGPIPE, SIG_IGN);
    printf("port %u\n", number);
    fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) continue;
        conn *c = calloc(1, sizeof *c);
        pthread_t thread;
        if (c == NULL) die("out of memory");
        c->fd = fd;
        buf_init(&c->in, 2 * MAIL_MAX);
        buf_init(&c->mail, 2 * MAIL_MAX);
        if (pthread_create(&thread, NULL, serve_connection, c)) die("no thread");
        pthread_detach(thread);
    }
}
