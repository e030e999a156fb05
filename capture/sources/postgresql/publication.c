// The publication: exactly the task's tables, every operation, through the root of a partitioned table.
//
// Never FOR ALL TABLES: a table without a usable identity in a publication makes the application's UPDATE and DELETE fail.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "stream.h"

enum { LOCK_WAIT_S = 60 };

static void
put_name(struct gw_buf *sql, const struct pgs_stream *st)
{
    gw_pg_ident(sql, st->publication);
}

static void
put_table(struct gw_buf *sql, const Gw__Table *t)
{
    // ONLY: what inherits from it is a table of its own. A partitioned table cannot be named so, and needs not.
    gw_buf_puts(sql, t->kind == GW__TABLE_KIND__TABLE_PARTITIONED ? "" : "ONLY ");
    gw_pg_qname(sql, t->source_schema, t->source_name);
}

int
pgs_publication_drop(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    if (!st->own_publication) {
        return GW_OK; // the user's own
    }
    PGS_BUF sql;
    gw_buf_init(&sql, 1024);
    gw_buf_puts(&sql, "DROP PUBLICATION IF EXISTS ");
    put_name(&sql, st);
    int r = pgs_side(s, err);
    return r == GW_OK ? gw_pg_exec(st->side, err, "%s", sql.data) : r;
}

static int
check_identities(const struct gw_stream_start *start, struct gw_err *err)
{
    for (size_t i = 0; i < start->tables_n; i++) {
        const Gw__Table *t = start->tables[i];
        if (!t->n_identity) {
            gw_err_set(err, GW_CONFIG, NULL, "table \"%s.%s\" has no replica identity", t->source_schema,
                       t->source_name);
            gw_err_hint(err, "ALTER TABLE … REPLICA IDENTITY FULL, or leave it out");
            return GW_CONFIG;
        }
    }
    return GW_OK;
}

// Waits for nobody for long: the lock that it takes lets rows be read and written, but not what else is queued behind it.
int
pgs_publication_make(struct pgs *s, const struct gw_stream_start *start, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    if (!st->own_publication) {
        return pgs_publication_check(s, start, PGS_MISSING_FAILS, err);
    }
    PGS_BUF sql, comment;
    gw_buf_init(&sql, PGS_SQL_MAX);
    gw_buf_init(&comment, 4096);
    gw_buf_puts(&sql, "CREATE PUBLICATION ");
    put_name(&sql, st);
    for (size_t i = 0; i < start->tables_n; i++) {
        gw_buf_puts(&sql, i ? ", " : " FOR TABLE ");
        put_table(&sql, start->tables[i]);
    }
    gw_buf_printf(&sql, " WITH (publish = 'insert, update, delete, truncate'%s)",
                  s->version >= 130000 ? ", publish_via_partition_root = true" : "");
    gw_buf_printf(&comment, "godwit: task %s, %s", start->task->name, start->task_uuid ? start->task_uuid : "");
    gw_buf_puts(&sql, "; COMMENT ON PUBLICATION ");
    put_name(&sql, st);
    gw_buf_puts(&sql, " IS ");
    gw_pg_literal(&sql, comment.data);
    if (sql.overflowed) {
        return gw_err_set(err, GW_CONFIG, NULL, "a publication of so many tables cannot be made: select fewer");
    }
    int r = check_identities(start, err);
    r = r == GW_OK ? pgs_side(s, err) : r;
    if (r != GW_OK) {
        return r;
    }
    r = gw_pg_exec(st->side, err, "BEGIN; SET LOCAL lock_timeout = '%ds'; %s; COMMIT", LOCK_WAIT_S, sql.data);
    if (r != GW_OK) {
        (void)gw_pg_exec(st->side, NULL, "ROLLBACK"); // the first error is the one to tell
        return gw_err_wrap(err, "make publication \"%s\"", st->publication);
    }
    return r;
}

// ---- check -------------------------------------------------------------------------------------

static int
wrong(struct pgs *s, struct gw_err *err, const char *what)
{
    gw_err_set(err, GW_CONFIG, NULL, "publication \"%s\" %s: changes are missing from the stream",
               s->stream->publication, what);
    gw_err_hint(err, "start the task anew with --fresh");
    return GW_CONFIG;
}

static bool
has(const PGresult *r, const char *column)
{
    int i = PQfnumber(r, column);
    return i < 0 || pgs_true(r, 0, i);
}

static int
check_options(struct pgs *s, const struct gw_stream_start *start, const PGresult *r, struct gw_err *err)
{
    bool roots = false;
    for (size_t i = 0; i < start->tables_n; i++) {
        roots = roots || start->tables[i]->kind == GW__TABLE_KIND__TABLE_PARTITIONED;
    }
    if (!has(r, "pubinsert") || !has(r, "pubupdate") || !has(r, "pubdelete") || !has(r, "pubtruncate")) {
        return wrong(s, err, "does not publish all of insert, update, delete and truncate");
    }
    if (roots && !has(r, "pubviaroot")) {
        return wrong(s, err, "does not publish partitioned tables through their root (publish_via_partition_root)");
    }
    return GW_OK;
}

// One row a table of the task: is it there; is it published; by a filter; with a list of columns.
static void
put_members(struct gw_buf *sql, const struct pgs *s, const struct gw_stream_start *start, const char *publication)
{
    bool lists = s->version >= 150000;
    gw_buf_puts(sql, "SELECT c.oid IS NOT NULL, p.puballtables OR m.prpubid IS NOT NULL");
    gw_buf_puts(sql, lists ? " OR EXISTS (SELECT 1 FROM pg_catalog.pg_publication_namespace x WHERE x.pnpubid = p.oid"
                             " AND x.pnnspid = n.oid), m.prqual IS NOT NULL, m.prattrs IS NOT NULL"
                           : ", false, false");
    gw_buf_puts(sql, " FROM (VALUES ");
    for (size_t i = 0; i < start->tables_n; i++) {
        gw_buf_printf(sql, "%s(%zu, ", i ? ", " : "", i);
        gw_pg_literal(sql, start->tables[i]->source_schema);
        gw_buf_puts(sql, ", ");
        gw_pg_literal(sql, start->tables[i]->source_name);
        gw_buf_putc(sql, ')');
    }
    gw_buf_puts(sql, ") t(i, nsp, rel) CROSS JOIN pg_catalog.pg_publication p"
                     " LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = t.nsp"
                     " LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.rel"
                     " LEFT JOIN pg_catalog.pg_publication_rel m ON m.prpubid = p.oid AND m.prrelid = c.oid"
                     " WHERE p.pubname = ");
    gw_pg_literal(sql, publication);
    gw_buf_puts(sql, " ORDER BY t.i");
}

// Whoever has written to the table must have ended before it is published: of a transaction that has written before, the
// server would send only the rest. So the lock is that of an index, which waits for writers, but not for long.
static int
add_member(struct pgs *s, const Gw__Table *t, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    if (!t->n_identity) {
        return GW_OK; // the application could not update it any more
    }
    PGS_BUF sql;
    gw_buf_init(&sql, PGS_SQL_MAX);
    gw_buf_printf(&sql, "BEGIN; SET LOCAL lock_timeout = '%ds'; LOCK TABLE ", LOCK_WAIT_S);
    gw_pg_qname(&sql, t->source_schema, t->source_name);
    gw_buf_puts(&sql, " IN SHARE ROW EXCLUSIVE MODE; ALTER PUBLICATION ");
    put_name(&sql, st);
    gw_buf_puts(&sql, " ADD TABLE ");
    put_table(&sql, t);
    gw_buf_puts(&sql, "; COMMIT");
    int r = gw_pg_exec(st->side, err, "%s", sql.data);
    if (r != GW_OK) {
        (void)gw_pg_exec(st->side, NULL, "ROLLBACK"); // the first error is the one to tell
        return gw_err_wrap(err, "add table \"%s.%s\" to publication \"%s\"", t->source_schema, t->source_name,
                           st->publication);
    }
    return r;
}

static int
check_members(struct pgs *s, const struct gw_stream_start *start, const PGresult *r, enum pgs_missing missing,
              struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    for (size_t i = 0; i < start->tables_n && i < (size_t)PQntuples(r); i++) {
        const Gw__Table *t = start->tables[i];
        char text[300];
        bool there = pgs_true(r, (int)i, 0), published = pgs_true(r, (int)i, 1);
        if (pgs_true(r, (int)i, 2) || pgs_true(r, (int)i, 3)) {
            snprintf(text, sizeof text, "has a filter or a list of columns for table \"%.80s.%.80s\"", t->source_schema,
                     t->source_name);
            return wrong(s, err, text);
        }
        if (!published && there && t->to_load && st->own_publication) {
            struct gw_err cause = {0};
            int rc = add_member(s, t, &cause);
            if (rc == GW_CONFIG) { // another owner's: that table alone is suspended when the stream begins
                gw_log_err(GW_LOG_WARN, &cause, "its changes cannot be followed");
            } else if (rc != GW_OK) {
                *err = cause;
                return rc;
            }
            continue;
        }
        if (published || missing == PGS_MISSING_PASSES) {
            continue;
        }
        if (missing == PGS_MISSING_FAILS) {
            snprintf(text, sizeof text, "lacks table \"%.80s.%.80s\"%s", t->source_schema, t->source_name,
                     there ? "" : ", which is gone");
            return wrong(s, err, text);
        }
        if (there) { // else the catalogue tells what has become of it
            pgs_suspend(st, i, "it is no longer part of the publication");
        }
    }
    return GW_OK;
}

// Tables of the publication that are not the task's: suspended ones. They would only be a burden on the source, and once
// they lose their identity, on the application.
static int
drop_others(struct pgs *s, const struct gw_stream_start *start, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    PGS_BUF sql, name, oids;
    gw_buf_init(&oids, PGS_SQL_MAX);
    gw_buf_init(&sql, PGS_SQL_MAX);
    gw_buf_init(&name, 1024);
    gw_pg_literal(&name, st->publication);
    for (size_t i = 0; i < start->tables_n; i++) {
        gw_buf_puts(&sql, i ? ", (" : "(");
        gw_pg_literal(&sql, start->tables[i]->source_schema);
        gw_buf_puts(&sql, ", ");
        gw_pg_literal(&sql, start->tables[i]->source_name);
        gw_buf_putc(&sql, ')');
    }
    for (size_t i = 0; i < start->tables_n; i++) { // one that was renamed is still ours
        gw_buf_printf(&oids, "%s%" PRIu32, i ? "," : "", pgs_described_oid(start->tables[i]));
    }
    PGS_RES r = NULL;
    int rc = pgs_side_query(s, &r, err,
                            "SELECT n.nspname, c.relname FROM pg_catalog.pg_publication p"
                            " JOIN pg_catalog.pg_publication_rel m ON m.prpubid = p.oid"
                            " JOIN pg_catalog.pg_class c ON c.oid = m.prrelid"
                            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                            " WHERE p.pubname = %s AND (n.nspname, c.relname) NOT IN (VALUES %s)"
                            " AND c.oid <> ALL ('{%s}'::pg_catalog.oid[])",
                            name.data, sql.data, oids.data);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        gw_buf_reset(&sql);
        gw_buf_puts(&sql, "ALTER PUBLICATION ");
        put_name(&sql, st);
        gw_buf_puts(&sql, " DROP TABLE ");
        gw_pg_qname(&sql, pgs_text(r, i, 0), pgs_text(r, i, 1));
        struct gw_err cause = {0};
        rc = gw_pg_exec(st->side, &cause, "%s", sql.data);
        if (rc == GW_CONFIG) {
            rc = GW_OK; // it is gone meanwhile, or somebody else's: a burden at worst
        } else if (rc != GW_OK) {
            *err = cause;
        }
    }
    return rc;
}

int
pgs_publication_check(struct pgs *s, const struct gw_stream_start *start, enum pgs_missing missing, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    PGS_BUF name, sql;
    gw_buf_init(&name, 1024);
    gw_buf_init(&sql, PGS_SQL_MAX);
    gw_pg_literal(&name, st->publication);
    PGS_RES r = NULL;
    int rc = pgs_side_query(s, &r, err, "SELECT * FROM pg_catalog.pg_publication WHERE pubname = %s", name.data);
    if (rc != GW_OK) {
        return rc;
    }
    if (PQntuples(r) == 0) {
        return wrong(s, err, "is gone");
    }
    rc = check_options(s, start, r, err);
    if (rc != GW_OK || start->tables_n == 0) {
        return rc;
    }
    put_members(&sql, s, start, st->publication);
    if (sql.overflowed) {
        return gw_err_set(err, GW_CONFIG, NULL, "too many tables for one publication");
    }
    rc = pgs_side_query(s, &r, err, "%s", sql.data);
    rc = rc == GW_OK ? check_members(s, start, r, missing, err) : rc;
    return rc == GW_OK && st->own_publication ? drop_others(s, start, err) : rc;
}
