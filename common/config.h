// The task file: JSON as the user wrote it, in; a checked Gw__Task with every default filled in, out.
//
// Errors are CONFIG and name file, line and column, or the key's path and the nearest known key.
// Known keys that have no effect are said in Task.warnings.
#ifndef GW_CONFIG_H
#define GW_CONFIG_H

#include <stddef.h>

#include "common/arena.h"
#include "common/err.h"
#include "task.pb-c.h"

int gw_config_load(const char *path, struct gw_arena *a, Gw__Task **ret, struct gw_err *err);
// `name` stands for the file in messages.
int
gw_config_parse(const char *name, const char *text, size_t len, struct gw_arena *a, Gw__Task **ret, struct gw_err *err);

#endif
