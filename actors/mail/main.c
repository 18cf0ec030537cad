/*  main.c - samovar-mail. */
#include "mail.h"

int main(int argc, char **argv)
{
    return sv_main(argc, argv, &mail_actor);
}
