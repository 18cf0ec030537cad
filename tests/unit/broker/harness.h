/*  harness.h - cmocka with the headers it needs, and a folder per test. */
#ifndef TEST_HARNESS_H
#define TEST_HARNESS_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#endif
