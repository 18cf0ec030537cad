/*  main.c - samovar-router. */
#include "router.h"

int main(int argc, char **argv)
{
    return sv_main(argc, argv, &router_actor);
}
