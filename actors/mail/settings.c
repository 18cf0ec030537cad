/*  settings.c - the mail server and who writes, checked before anything is sent. */
#include "mail.h"

#include "error.h"

#include <unistd.h>

static int read_url(mailer *m, const config *c, smtp_url *url, sv_error *err)
{
    sv_error why = {.code = 0};
    if (smtp_url_parse(m->server.url, url, &why))
        return sv_fail(err, SV_E_CONFIG, "mail.smtp_url", "%s", why.message);
    const char *starttls = config_str(c, "mail.starttls");
    if (starttls && url->tls)
        return sv_fail(err, SV_E_CONFIG, "mail.starttls",
                       "smtps:// is encrypted from the first byte: leave mail.starttls out.");
    if (starttls == NULL) starttls = url->loopback ? "off" : "required";
    m->server.starttls = strcmp(starttls, "off") == 0             ? SMTP_OFF
                         : strcmp(starttls, "opportunistic") == 0 ? SMTP_OPPORTUNISTIC
                                                                  : SMTP_REQUIRED;
    return 0;
}

static int read_login(mailer *m, const config *c, const smtp_url *url, sv_error *err)
{
    m->server.user = config_str(c, "mail.smtp_user");
    m->server.password = config_str(c, "mail.smtp_password");
    if ((m->server.user == NULL) != (m->server.password == NULL))
        return sv_fail(err, SV_E_CONFIG, m->server.user ? "mail.smtp_password" : "mail.smtp_user",
                       "A login at the mail server needs both user and password.");
    if (m->server.user && !url->tls && !url->loopback && m->server.starttls != SMTP_REQUIRED)
        return sv_fail(err, SV_E_CONFIG, "mail.starttls",
                       "The password would go over the network in the clear: leave it out, or "
                       "write required.");
    m->server.ca_file = config_str(c, "mail.ca_file");
    if (m->server.ca_file && access(m->server.ca_file, R_OK))
        return sv_fail(err, SV_E_CONFIG, "mail.ca_file", "%.150s cannot be read.",
                       m->server.ca_file);
    return 0;
}

static int read_mailbox(const config *c, const char *key, mailbox *ret, sv_error *err)
{
    sv_error why = {.code = 0};
    const char *text = config_str(c, key);
    if (text == NULL || mailbox_parse(text, ret, &why) == 0) return 0;
    return sv_fail(err, SV_E_CONFIG, key, "%s", why.message);
}

int mail_settings(mailer *m, const config *c, sv_error *err)
{
    smtp_url url;
    int rc = read_mailbox(c, "mail.from", &m->sender.from, err);
    if (rc == 0) rc = read_mailbox(c, "mail.reply_to", &m->sender.reply_to, err);
    if (rc) return rc;
    m->server.url = config_str(c, "mail.smtp_url");
    m->sends = m->server.url != NULL;
    if (!m->sends) return 0;
    if (m->sender.from.address[0] == 0)
        return sv_fail(err, SV_E_CONFIG, "mail.from",
                       "Mails need a sender: mail.from, e.g. Samovar <samovar@example.org>.");
    m->server.helo = sender_domain(&m->sender);
    m->server.connect_ms = MAIL_CONNECT_MS;
    m->server.total_ms = (uint32_t)config_int(c, "mail.timeout_ms");
    if ((rc = read_url(m, c, &url, err))) return rc;
    return read_login(m, c, &url, err);
}
