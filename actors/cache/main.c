/*  main.c - samovar-cache. */
#include "cache.h"

int main(int argc, char **argv)
{
    return sv_main(argc, argv, &cache_actor);
}
