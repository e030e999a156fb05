// Between the parts of the task file's parser: config.c (the whole), config_settings.c, config_rules.c.
#ifndef GW_CONFIG_PRIV_H
#define GW_CONFIG_PRIV_H

#include "common/config_json.h"
#include "task.pb-c.h"

struct gw_config {
    struct gw_arena *a;
    Gw__Task *task;
    bool lob_limited; // LimitedSizeLobMode was asked for in the file
    bool lob_full;
    long long lob_max_kb;
};

// "accepted, but": one sentence in Task.warnings.
void gw_config_warn(struct gw_config *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int gw_config_settings(struct gw_config *c, json_t *v, const struct gw_json_path *at, struct gw_err *err);
int gw_config_rules(struct gw_config *c, json_t *v, const struct gw_json_path *at, struct gw_err *err);

#endif
