/*  cmd_keys.c - `samovar keys`: CURVE key pairs for processes that the supervisor does not start.
 */
#include "commands.h"

#include "envelope.h"
#include "error.h"
#include "keyfile.h"
#include "platform.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

/* Names that belong to the platform's own processes. */
static bool reserved(const char *name)
{
    static const char *const names[] = {"bus",    "broker", "operator", "supervisor", "edge",
                                        "router", "auth",   "cache",    "mail",       "workspace"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

static int make_folder(const config *c, char folder[PLATFORM_PATH], sv_error *err)
{
    if (snprintf(folder, PLATFORM_PATH, "%s/keys", config_data(c)) >= PLATFORM_PATH)
        return sv_fail(err, SV_E_TOO_LARGE, "data", "The data folder's path is too long.");
    if ((mkdir(config_data(c), 0700) && errno != EEXIST) ||
        (mkdir(folder, 0700) && errno != EEXIST))
        return sv_fail(err, SV_E_IO, "data", "The folder %.150s cannot be made: %s.", folder,
                       strerror(errno));
    return 0;
}

static int write_pair(const config *c, const char *name, char secret_path[PLATFORM_PATH],
                      sv_error *err)
{
    char folder[PLATFORM_PATH], public_path[PLATFORM_PATH], public_key[41], secret_key[41];
    keyfile k = {.name = ""};
    int rc = make_folder(c, folder, err);
    if (rc) return rc;
    if (snprintf(secret_path, PLATFORM_PATH, "%s/%s.key", folder, name) >= PLATFORM_PATH ||
        snprintf(public_path, PLATFORM_PATH, "%s/%s.pub", folder, name) >= PLATFORM_PATH)
        return sv_fail(err, SV_E_TOO_LARGE, "data", "The data folder's path is too long.");
    if (access(public_path, F_OK) == 0 || access(secret_path, F_OK) == 0)
        return sv_fail(
            err, SV_E_CONFLICT, "name",
            "A key named %s exists. To replace it, delete %s.key and %s.pub in %.120s first", name,
            name, name, folder);
    if (zmq_curve_keypair(public_key, secret_key))
        return sv_fail(err, SV_E_UNIMPLEMENTED, NULL, "This libzmq was built without CURVE.");
    rc = keyfile_new(name, public_key, secret_key, &k, err);
    /* The public half last: the broker admits a key only once its owner has the secret. */
    if (rc == 0) rc = keyfile_write(&k, secret_path, true, err);
    if (rc == 0 && (rc = keyfile_write(&k, public_path, false, err)) != 0) unlink(secret_path);
    keyfile_clear(&k);
    explicit_bzero(secret_key, sizeof secret_key);
    return rc;
}

static int keys_new(const config *c, const char *name)
{
    char secret_path[PLATFORM_PATH];
    sv_error err = {.code = 0};
    if (!envelope_name_ok(sv_cstr(name)) || reserved(name)) {
        fprintf(
            stderr,
            "samovar keys: \"%s\" cannot be a name: it takes [a-z][a-z0-9-]*, up to 24 characters, "
            "and none of the platform's own names\n",
            name);
        return CLI_USAGE;
    }
    if (write_pair(c, name, secret_path, &err)) {
        cli_complain(&err);
        return CLI_FAILED;
    }
    printf("# %s may now join the bus as service \"%s\". Its environment:\n", name, name);
    printf("SAMOVAR_BUS=ipc://%s/curve.ipc\nSAMOVAR_KEY=%s\nSAMOVAR_BUS_KEY=%s/bus.key\n",
           config_run(c), secret_path, config_run(c));
    const char *const *listen;
    uint32_t n = config_strs(c, "bus.listen", &listen);
    for (uint32_t i = 0; i < n; i++)
        printf("# from elsewhere: SAMOVAR_BUS=%s\n", listen[i]);
    if (n == 0) printf("# from other machines: set bus.listen, e.g. [tcp://127.0.0.1:7421]\n");
    return CLI_OK;
}

static int is_public(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && strcmp(d->d_name + n - 4, ".pub") == 0;
}

static int keys_list(const config *c)
{
    char folder[PLATFORM_PATH], path[PLATFORM_PATH + 300];
    struct dirent **list = NULL;
    int exit_code = CLI_OK;
    snprintf(folder, sizeof folder, "%s/keys", config_data(c));
    int n = scandir(folder, &list, is_public, alphasort);
    printf("%-24s %-42s %s\n", "NAME", "PUBLIC KEY", "NOTE");
    for (int i = 0; i < n; i++) {
        keyfile k;
        sv_error err = {.code = 0};
        snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
        if (keyfile_read(path, &k, &err)) {
            printf("%-24s %-42s %s\n", list[i]->d_name, "-", err.message);
            exit_code = CLI_FAILED;
        } else {
            memcpy(path + strlen(path) - 4, ".key", 4);
            printf("%-24s %-42s %s\n", k.name, k.public_key,
                   k.secret[0]               ? "refused: a secret does not belong in a .pub file"
                   : access(path, F_OK) == 0 ? "its secret key is here, too"
                                             : "");
            keyfile_clear(&k);
        }
        free(list[i]);
    }
    free(list);
    return exit_code;
}

int cmd_keys(int argc, char **argv)
{
    const args_spec spec = {
        "samovar keys",
        "new NAME | ls",
        "new: makes a CURVE key pair with which a process of your own joins the bus as service "
        "NAME,\n"
        "     and prints the environment it needs. The broker admits the key at once.\n"
        "ls:  lists the keys that the broker admits.\n"
        "(API keys, with which programs call the HTTP API: samovar key.)",
        "The files are DATA/keys/NAME.key (secret, mode 0600) and NAME.pub; deleting NAME.pub "
        "locks the\n"
        "key out.\n"
        "exit codes: 0 done, 1 failed, 2 wrong words",
        NULL,
        0,
        1,
        2};
    args words;
    int exit_code;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    bool new = strcmp(words.word[0], "new") == 0 && words.n == 2;
    bool list = strcmp(words.word[0], "ls") == 0 && words.n == 1;
    if (!new && !list) {
        fprintf(stderr, "samovar keys: it takes new NAME, or ls\n");
        return CLI_USAGE;
    }
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    exit_code = new ? keys_new(c, words.word[1]) : keys_list(c);
    config_free(c);
    return exit_code;
}
