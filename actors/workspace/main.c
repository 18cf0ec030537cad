/*  main.c - samovar-workspace. */
#include "workspace.h"

int main(int argc, char **argv)
{
    return sv_main(argc, argv, &workspace_actor);
}
