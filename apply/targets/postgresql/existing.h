// Findings about tables that are on the target before the task.
#ifndef GW_TARGET_PGT_EXISTING_H
#define GW_TARGET_PGT_EXISTING_H

#include "pgt.h"

#define INFO GW__SEVERITY__SEVERITY_INFO
#define WARN GW__SEVERITY__SEVERITY_WARNING
#define ERR  GW__SEVERITY__SEVERITY_ERROR

// columns.c: whether the columns of relation `oid` hold every value of the table's, unaltered.
int pgt_preflight_columns(struct pgt *t, struct pgt_findings *f, const Gw__Table *table, const char *oid,
                          struct gw_err *err);

// What becomes of the values of one type in a column of another, both as format_type() writes them.
enum pgt_fit {
    PGT_FITS,
    PGT_REFUSES, // some values are refused, none is altered
    PGT_CHANGES, // nothing is lost, but the values mean or read something else
    PGT_ALTERS,  // some values are rounded or cut in silence
};
enum pgt_fit pgt_type_fit(const char *need, const char *have, const char **ret_why);

#endif
