/*  main.c - samovar-auth. */
#include "auth.h"

int main(int argc, char **argv)
{
    return sv_main(argc, argv, &auth_actor);
}
