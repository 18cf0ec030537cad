/*  commands.h - the commands of the executable `samovar`, declared once.
 *  Each gets the words behind its name and answers the exit code (platform.h). */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#define COMMANDS(COMMAND)                                                                          \
    COMMAND(up, "start everything and watch over it")                                              \
    COMMAND(stop, "stop a running platform")                                                       \
    COMMAND(ps, "list the processes and how they are")                                             \
    COMMAND(info, "URL, folders, providers and a request to try")                                  \
    COMMAND(call, "call a method over the bus")                                                    \
    COMMAND(tap, "watch the messages on the bus")                                                  \
    COMMAND(logs, "last log lines of the processes")                                               \
    COMMAND(keys, "key pairs for processes from elsewhere")                                        \
    COMMAND(user, "accounts: add, list, disable, reset")                                           \
    COMMAND(org, "organizations: list")                                                            \
    COMMAND(key, "API keys of users: new, list, delete")                                           \
    COMMAND(mail, "outgoing mail: list, show, send again, test")                                   \
    COMMAND(audit, "the audit log, and whether it was changed")                                    \
    COMMAND(config, "check or show the configuration")                                             \
    COMMAND(usage, "what models were asked and what it cost")                                      \
    COMMAND(cache, "kept answers of models: figures, list, clear")                                 \
    COMMAND(explain, "how a request was decided")                                                  \
    COMMAND(providers, "who can answer, and in what state")                                        \
    COMMAND(rankings, "how models do at which task")                                               \
    COMMAND(store, "look at what the actors keep, and its keys")                                   \
    COMMAND(backup, "copy what the actors keep")                                                   \
    COMMAND(restore, "put a backup in place")                                                      \
    COMMAND(doctor, "look for what is wrong")

#define COMMAND(name, doc) int cmd_##name(int argc, char **argv);
COMMANDS(COMMAND)
#undef COMMAND

#endif
