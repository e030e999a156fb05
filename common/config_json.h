// JSON as people write it: jansson, with trailing commas allowed, keys in any case, and errors that name the place.
#ifndef GW_CONFIG_JSON_H
#define GW_CONFIG_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "common/arena.h"
#include "common/err.h"

// A new reference; NULL on failure. `name` stands for the file in messages. Duplicate keys are refused.
json_t *gw_json_parse(const char *name, const char *text, size_t len, struct gw_err *err);

// Where in the file one is, for messages: task-settings.ErrorBehavior
struct gw_json_path {
    const struct gw_json_path *up;
    const char *key;
    int index; // >= 0: an array element
};
char *gw_json_path_text(struct gw_arena *a, const struct gw_json_path *p);

// What a key takes. Each setter gets the value and says what is wrong with it.
struct gw_key {
    const char *name;
    int (*set)(void *ctx, const struct gw_key *k, json_t *value, const struct gw_json_path *at, struct gw_err *err);
    size_t offset;            // of the member in *base, for the simple setters
    long long min, max;       // numbers
    const char *const *names; // enums, in order of their value; NULL-terminated
    bool required;
};
// Goes through an object: every key must be in the table (in any case), every required one must be there.
int gw_json_object(json_t *object, const struct gw_key *keys, size_t n, void *ctx, const struct gw_json_path *at,
                   struct gw_err *err);
// The nearest of the names by edit distance, or NULL if none is near.
const char *gw_json_nearest(const char *word, const struct gw_key *keys, size_t n);

// Values. Numbers may be strings of digits, booleans "true"/"false", ids numbers.
int gw_json_bool(json_t *v, bool *ret, const struct gw_json_path *at, struct gw_err *err);
int
gw_json_int(json_t *v, long long min, long long max, long long *ret, const struct gw_json_path *at, struct gw_err *err);
int gw_json_string(json_t *v, struct gw_arena *a, char **ret, const struct gw_json_path *at, struct gw_err *err);
int gw_json_enum(json_t *v, const char *const *names, int *ret, const struct gw_json_path *at, struct gw_err *err);
int gw_json_error(const struct gw_json_path *at, struct gw_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
