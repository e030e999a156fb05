// What only the text of a CREATE statement says, read by the source and by the target.
#ifndef GW_DB_LITE_DDL_H
#define GW_DB_LITE_DDL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"

// What the CREATE text says and no pragma does.
struct gw_lite_ddl {
    const char *body; // "(columns …) options": what stands behind the name
    struct gw_lite_ddl_item {
        const char *name; // of the column or constraint, "" if it has none
        const char *expr;
    } * generated, *checks;
    size_t n_generated, n_checks;
};
struct gw_lite_ddl_index {
    const char **parts; // the text of each key part, without COLLATE, ASC and DESC
    size_t n_parts;
    const char *predicate; // "" = none
};

// Both return false where the text cannot be understood.
bool gw_lite_ddl_table(struct gw_arena *a, const char *sql, struct gw_lite_ddl *ret);
bool gw_lite_ddl_index(struct gw_arena *a, const char *sql, struct gw_lite_ddl_index *ret);

#endif
