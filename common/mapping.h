// Which tables a task means: selection rules and table settings against names.
//
// Patterns: `%` is any run of characters, `_` exactly one; case-sensitive, over UTF-8 characters.
// SQLite's tables have schema "": a rule's schema pattern may match either that or "main".
#ifndef GW_MAPPING_H
#define GW_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog.pb-c.h"
#include "common/arena.h"
#include "task.pb-c.h"

// At worst pattern times text; names are short.
bool gw_pattern_match(const char *pattern, const char *text);

// Whether the rules take the table in: at least one include (or explicit) matches and no exclude does.
// *load_order gets the greatest load-order of the rules that include it.
bool gw_mapping_selected(const Gw__Task *task, const char *schema, const char *table, Gw__TableKind kind,
                         int32_t *load_order);

// The table-settings rule for a source table, or NULL; of several the most specific (documented in the .c).
const Gw__TableSettingsRule *gw_mapping_table_settings(const Gw__Task *task, const char *schema, const char *table);

// Appends a finding to `cat` (all tables of the source, before selection) for each rule that matches nothing:
// ERROR without a table for an include rule without wildcards (a missing table), WARNING for the others.
void gw_mapping_unmatched(const Gw__Task *task, Gw__Catalog *cat, struct gw_arena *a);

#endif
