/*  env.c - a copy of the environment, filtered by name. */
#include "env.h"

#include "error.h"

#include <stdlib.h>

static const char *const provider_vars[] = {
    "OPENAI_API_KEY",   "OPENAI_BASE_URL",   "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL",
    "GROQ_API_KEY",     "GROQ_BASE_URL",     "ANTHROPIC_API_KEY",  "ANTHROPIC_BASE_URL",
    "GEMINI_API_KEY",   "GEMINI_BASE_URL",   "MISTRAL_API_KEY",    "MISTRAL_BASE_URL",
    "DEEPSEEK_API_KEY", "DEEPSEEK_BASE_URL", "TOGETHER_API_KEY",   "TOGETHER_BASE_URL",
};

static const char *const secret_endings[] = {"_API_KEY",  "_TOKEN",      "_SECRET",
                                             "_PASSWORD", "_SECRET_KEY", "_ACCESS_KEY"};

/* What a supervisor tells its child; a stale value from above would mislead it. */
static const char *const protocol_vars[] = {
    "NOTIFY_SOCKET", "WATCHDOG_USEC",      "WATCHDOG_PID",      "LISTEN_FDS",
    "LISTEN_PID",    "SAMOVAR_CONTROL_FD", "SAMOVAR_TICKET_FD", "SAMOVAR_INSTANCE",
    "SAMOVAR_BUS",   "SAMOVAR_KEY",        "SAMOVAR_BUS_KEY",   "SAMOVAR_ROOT_KEY_FD",
};

/* For `samovar backup` alone, which gets them by name. */
static const char *const backup_vars[] = {"SAMOVAR_BACKUP_S3_ACCESS_KEY",
                                          "SAMOVAR_BACKUP_S3_SECRET_KEY"};

/* The supervisor's own. */
static const char *const supervisor_vars[] = {"SAMOVAR_ERRORS_DSN"};

/* For the mail actor alone, which gets it by name. */
static const char *const mail_vars[] = {"SAMOVAR_MAIL_SMTP_PASSWORD"};

static bool is_one_of(const char *name, size_t n, const char *const *list, size_t list_n)
{
    for (size_t i = 0; i < list_n; i++)
        if (strlen(list[i]) == n && memcmp(list[i], name, n) == 0) return true;
    return false;
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

bool env_is_secret(const char *name, size_t name_n, const char *const *extra, size_t n_extra)
{
    for (size_t i = 0; i < COUNT(secret_endings); i++) {
        size_t n = strlen(secret_endings[i]);
        if (name_n >= n && memcmp(name + name_n - n, secret_endings[i], n) == 0) return true;
    }
    return is_one_of(name, name_n, provider_vars, COUNT(provider_vars)) ||
           is_one_of(name, name_n, extra, n_extra);
}

static int add(env_list *l, char *var)
{
    if (l->n + 1 >= l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        char **vars = realloc(l->vars, cap * sizeof *vars);
        if (vars == NULL) {
            free(var);
            return SV_E_NO_MEMORY;
        }
        l->vars = vars;
        l->cap = cap;
    }
    if (var == NULL) return SV_E_NO_MEMORY;
    l->vars[l->n++] = var;
    l->vars[l->n] = NULL;
    return 0;
}

int env_copy(env_list *ret, char *const *from, bool secrets, const char *const *extra,
             size_t n_extra)
{
    *ret = (env_list){NULL, 0, 0};
    for (; *from; from++) {
        const char *equals = strchr(*from, '=');
        size_t n = equals ? (size_t)(equals - *from) : strlen(*from);
        if (is_one_of(*from, n, protocol_vars, COUNT(protocol_vars)) ||
            is_one_of(*from, n, backup_vars, COUNT(backup_vars)) ||
            is_one_of(*from, n, supervisor_vars, COUNT(supervisor_vars)) ||
            is_one_of(*from, n, mail_vars, COUNT(mail_vars)) ||
            (!secrets && env_is_secret(*from, n, extra, n_extra)))
            continue;
        if (add(ret, strdup(*from))) {
            env_free(ret);
            return SV_E_NO_MEMORY;
        }
    }
    return 0;
}

int env_set(env_list *l, const char *name, const char *value)
{
    size_t n = strlen(name), value_n = strlen(value);
    char *var = malloc(n + value_n + 2);
    if (var == NULL) return SV_E_NO_MEMORY;
    memcpy(var, name, n);
    var[n] = '=';
    memcpy(var + n + 1, value, value_n + 1);
    for (size_t i = 0; i < l->n; i++) {
        if (strncmp(l->vars[i], var, n + 1) == 0) {
            free(l->vars[i]);
            l->vars[i] = var;
            return 0;
        }
    }
    return add(l, var);
}

void env_free(env_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->vars[i]);
    free(l->vars);
    *l = (env_list){NULL, 0, 0};
}
