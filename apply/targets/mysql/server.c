// Findings about the server and what its user may do.
#include <string.h>
#include <strings.h>

#include "myt.h"

#define INFO GW__SEVERITY__SEVERITY_INFO
#define WARN GW__SEVERITY__SEVERITY_WARNING
#define ERR  GW__SEVERITY__SEVERITY_ERROR

static int
variable(struct myt *t, struct gw_arena *a, const char *name, char **ret, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err, "SHOW GLOBAL VARIABLES LIKE $l", name);
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    *ret = gw_arena_strdup(a, row ? myt_text(row, 1) : "");
    return rc;
}

static bool
counts(const struct myt *t, const Gw__Catalog *cat)
{
    for (size_t i = 0; i < cat->n_tables; i++) {
        if (myt_auto_column(t, cat->tables[i])) {
            return true;
        }
    }
    return false;
}

static int
check_variables(struct myt *t, struct myt_findings *f, const Gw__Catalog *cat, struct gw_err *err)
{
    static const char *const names[] = {
        "local_infile", "read_only",    "innodb_flush_log_at_trx_commit", "innodb_autoinc_lock_mode",
        "log_bin",      "binlog_format"};
    char *v[6] = {0};
    for (size_t i = 0; i < 6; i++) {
        int rc = variable(t, f->a, names[i], &v[i], err);
        if (rc != GW_OK) {
            return rc;
        }
    }
    if (strcasecmp(v[0], "ON") != 0) {
        myt_find(f, ERR, NULL, "", "allow it", "SET GLOBAL local_infile = 1",
                 "the server does not take LOAD DATA LOCAL, by which rows are written");
    }
    if (strcasecmp(v[1], "ON") == 0) {
        myt_find(f, WARN, NULL, "", "name the primary server, or allow writes", "SET GLOBAL read_only = 0",
                 "the server is read-only for users without a special privilege");
    }
    if (v[2][0] && strcmp(v[2], "1") != 0) {
        myt_find(f, WARN, NULL, "", "make commits durable for the load",
                 "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
                 "innodb_flush_log_at_trx_commit is %s: a crash of the server may lose what it has acknowledged", v[2]);
    }
    if (strcmp(v[3], "2") != 0 && v[3][0] && counts(t, cat)) {
        myt_find(f, INFO, NULL, "", "start the server with innodb_autoinc_lock_mode=2 for the load", NULL,
                 "innodb_autoinc_lock_mode is %s: chunks of one table with AUTO_INCREMENT wait for each other", v[3]);
    }
    if (strcasecmp(v[4], "ON") == 0 && strcasecmp(v[5], "STATEMENT") == 0) {
        myt_find(f, ERR, NULL, "", "log rows", "SET GLOBAL binlog_format = 'ROW'",
                 "binlog_format is STATEMENT, with which InnoDB refuses to write under READ COMMITTED");
    }
    return GW_OK;
}

// ---- privileges

struct grantee {
    char *name;  // 'user'@'host', as information_schema writes it
    bool unsure; // roles, or grants on single tables: not all of them can be seen from here
};

static int
find_grantee(struct myt *t, struct myt_findings *f, struct grantee *ret, struct gw_err *err)
{
    MYT_RES r = NULL;
    bool roles = t->server.mariadb || t->server.version >= 80000;
    // The last @ divides: a user's name may hold one.
    int rc = myt_query(t, &r, err,
                       "SELECT CONCAT(QUOTE(LEFT(u, CHAR_LENGTH(u) - CHAR_LENGTH(h) - 1)), '@', QUOTE(h)), $s"
                       " FROM (SELECT CURRENT_USER() AS u, SUBSTRING_INDEX(CURRENT_USER(), '@', -1) AS h) x",
                       roles ? "CURRENT_ROLE()" : "NULL");
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    if (row) {
        ret->name = gw_arena_strdup(f->a, myt_text(row, 0));
        ret->unsure = row[1] && strcasecmp(row[1], "NONE") != 0;
    }
    return rc;
}

static int
has_privilege(struct myt *t, const struct grantee *g, const char *schema, const char *privilege, bool *ret,
              struct gw_err *err)
{
    uint64_t n = 0;
    // The name of a database in a grant is a pattern.
    int rc = myt_scalar(t, &n, NULL, err,
                        "SELECT (SELECT COUNT(*) FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = $l"
                        " AND PRIVILEGE_TYPE = $l) + (SELECT COUNT(*) FROM information_schema.SCHEMA_PRIVILEGES"
                        " WHERE GRANTEE = $l AND PRIVILEGE_TYPE = $l AND $l LIKE TABLE_SCHEMA)",
                        g->name, privilege, g->name, privilege, schema);
    *ret = n > 0;
    return rc;
}

static int
check_privileges(struct myt *t, struct myt_findings *f, const struct grantee *g, const char *schema,
                 const char *const *needed, Gw__Severity severity, struct gw_err *err)
{
    uint64_t single = 0;
    char *missing = gw_arena_strdup(f->a, "");
    int rc = myt_scalar(t, &single, NULL, err,
                        "SELECT COUNT(*) FROM information_schema.TABLE_PRIVILEGES WHERE GRANTEE = $l"
                        " AND TABLE_SCHEMA = $l",
                        g->name, schema);
    for (size_t i = 0; rc == GW_OK && needed[i]; i++) {
        bool has = false;
        rc = has_privilege(t, g, schema, needed[i], &has, err);
        missing = has ? missing : gw_arena_printf(f->a, "%s%s%s", missing, missing[0] ? ", " : "", needed[i]);
    }
    if (rc != GW_OK || !missing[0]) {
        return rc;
    }
    MYT_BUF sql;
    gw_buf_init(&sql, 8192);
    myt_put(t, &sql, "GRANT $s ON $i.* TO $s", missing, schema, g->name);
    myt_find(f, g->unsure || single > 0 ? WARN : severity, NULL, schema, "grant the privileges", sql.data,
             "user %s has no privilege %s on database \"%s\"%s", g->name, missing, schema,
             g->unsure || single > 0 ? ", unless by a role or on its tables" : "");
    return GW_OK;
}

static int
check_databases(struct myt *t, struct myt_findings *f, const Gw__Catalog *cat, struct gw_err *err)
{
    static const char *const control[] = {"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", NULL};
    static const char *const clean[] = {"DROP", NULL};
    static const char *const write[] = {"SELECT", "INSERT", "CREATE", NULL};
    static const char *const change[] = {"ALTER", "INDEX", "DROP", "REFERENCES", NULL};
    struct grantee g = {0};
    int rc = find_grantee(t, f, &g, err);
    if (rc != GW_OK || !g.name) {
        return rc;
    }
    rc = check_privileges(t, f, &g, t->control, control, ERR, err);
    rc = rc == GW_OK ? check_privileges(t, f, &g, t->control, clean, WARN, err) : rc;
    for (size_t i = 0; rc == GW_OK && i < cat->n_tables; i++) {
        const char *schema = myt_schema(t, cat->tables[i]);
        bool seen = !myt_set(schema);
        for (size_t k = 0; k < i && !seen; k++) {
            seen = strcmp(myt_schema(t, cat->tables[k]), schema) == 0;
        }
        rc = seen ? rc : check_privileges(t, f, &g, schema, write, ERR, err);
        rc = rc == GW_OK && !seen ? check_privileges(t, f, &g, schema, change, WARN, err) : rc;
    }
    return rc;
}

// A table that would be loaded into itself would be emptied first. The server is what both sides say it is, whatever way
// either was reached.
static int
check_itself(struct myt *t, struct myt_findings *f, const Gw__Catalog *cat, struct gw_err *err)
{
    char *ours = NULL;
    int rc = gw_my_identity(t->c, &t->server, f->a, &ours, err);
    size_t n = rc == GW_OK ? strlen(ours) : 0;
    if (rc != GW_OK || strncmp(ours, cat->identity, n) != 0 || cat->identity[n] != '/') {
        return rc;
    }
    int (*compare)(const char *, const char *) = t->fold_names ? strcasecmp : strcmp;
    for (size_t i = 0; i < cat->n_tables; i++) {
        const Gw__Table *to = cat->tables[i];
        for (size_t k = 0; k < cat->n_tables; k++) {
            const Gw__Table *from = cat->tables[k];
            if (compare(myt_schema(t, to), from->source_schema) == 0 && compare(to->name, from->source_name) == 0) {
                myt_find(f, ERR, NULL, "", "set TargetSchema to another database, or name another server", NULL,
                         "source and target are the same table: \"%s.%s\" would be loaded into itself",
                         from->source_schema, from->source_name);
                return GW_OK;
            }
        }
    }
    return GW_OK;
}

int
myt_preflight_server(struct myt *t, struct myt_findings *f, const Gw__Catalog *cat, struct gw_err *err)
{
    int rc = check_variables(t, f, cat, err);
    rc = rc == GW_OK ? check_itself(t, f, cat, err) : rc;
    return rc == GW_OK ? check_databases(t, f, cat, err) : rc;
}
