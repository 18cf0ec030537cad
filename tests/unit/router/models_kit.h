/*  models_kit.h - a configuration and a file of models for tests of what is known and chosen.
 *  Thread: one test. */
#ifndef TEST_MODELS_KIT_H
#define TEST_MODELS_KIT_H

#include "config.h"
#include "error.h"
#include "models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], yaml_file[96];
static char models_file[96];           /* the test's own */
static const char *models_used = NULL; /* the one that is configured */

static inline int kit_setup(void **state)
{
    (void)state;
    clearenv();
    snprintf(folder, sizeof folder, "/tmp/models_test_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(yaml_file, sizeof yaml_file, "%s/c.yaml", folder);
    snprintf(models_file, sizeof models_file, "%s/models.json", folder);
    models_used = models_file;
    return 0;
}

static inline int kit_teardown(void **state)
{
    (void)state;
    unlink(yaml_file);
    if (strncmp(models_file, folder, strlen(folder)) == 0) unlink(models_file);
    rmdir(folder);
    return 0;
}

static inline void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* `yaml` lies under "router:". */
static inline int kit_config(const char *yaml, config **ret, sv_error *err)
{
    FILE *f = fopen(yaml_file, "w");
    assert_non_null(f);
    fprintf(f, "router:\n  models_file: %s\n%s", models_used, yaml);
    fclose(f);
    return config_load(yaml_file, ret, err);
}

/* The file that ships. */
static inline void use_shipped_models(void)
{
    models_used = TESTS_DIR "/../actors/router/models.json";
}

#endif
