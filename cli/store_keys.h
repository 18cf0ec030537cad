/*  store_keys.h - `samovar store keys|rotate|rekey`.
 *
 *  Another root key is taken into use in steps, each of which can be the last one of a process that
 *  dies: the new key is written beside the present one, as PATH.new, and from then on every process
 *  that starts takes either; every environment wraps its keys with the new one; PATH.new takes the
 *  place of PATH. The former key stays as PATH.old-ID, because older backups need it. Running the
 *  command again goes on where it was.
 *
 *  Thread: the main thread's; everything blocks.   Errors: printed. */
#ifndef CLI_STORE_KEYS_H
#define CLI_STORE_KEYS_H

/* `argv` begins with the subcommand. Answers the exit code. */
int store_keys_run(int argc, char **argv);

#endif
