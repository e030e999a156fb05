// Chunks: rows through LOAD DATA LOCAL, and the commit.
//
// The client library asks for the file's bytes through callbacks; they come from memory, there is no file. LOCAL implies
// IGNORE: the server turns every error into a warning, alters the value or skips the row, and goes on. So each statement
// counts only if its own report says that as many rows came as were sent, none was skipped, and nothing was warned of.
// Otherwise the transaction (careful: the savepoint) is rolled back.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "myt.h"

enum {
    FLUSH_BYTES = 2 * 1024 * 1024
}; // a statement of 2 MB is a few percent faster than one of 256 KB; more gains nothing

// ---- the file that is none

struct feed {
    const char *at;
    size_t left;
};

static int
feed_init(void **ret, const char *name, void *user)
{
    (void)name;
    *ret = user;
    return 0;
}

static int
feed_read(void *self, char *to, unsigned max)
{
    struct feed *f = self;
    size_t n = f->left < max ? f->left : max;
    memcpy(to, f->at, n);
    f->at += n;
    f->left -= n;
    return (int)n;
}

static void
feed_end(void *self)
{
    (void)self;
}

static int
feed_error(void *self, char *text, unsigned max)
{
    (void)self;
    snprintf(text, max, "no error");
    return 0;
}

// ---- begin

int
myt_read_columns(struct myt *t, struct gw_arena *a, const Gw__Table *table, struct myt_have **ret, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, t, "TABLE_SCHEMA", myt_schema(t, table), "TABLE_NAME", table->name);
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, DATETIME_PRECISION,"
                       " EXTRA LIKE '%auto_increment%', IS_NULLABLE = 'NO', EXTRA LIKE '%on update%'"
                       " FROM information_schema.COLUMNS WHERE $s ORDER BY ORDINAL_POSITION",
                       where.data);
    if (rc != GW_OK) {
        return rc;
    }
    size_t n = mysql_num_rows(r);
    if (n == 0) {
        return gw_err_set(err, GW_CONFIG, "1146", "table \"%s.%s\" is not on the target", myt_schema(t, table),
                          table->name);
    }
    struct myt_have *have = gw_arena_calloc(a, n + 1, sizeof *have);
    for (size_t i = 0; i < n; i++) {
        MYSQL_ROW row = mysql_fetch_row(r);
        have[i] = (struct myt_have){.name = gw_arena_strdup(a, myt_text(row, 0)),
                                    .data_type = gw_arena_strdup(a, myt_text(row, 1)),
                                    .column_type = gw_arena_strdup(a, myt_text(row, 2)),
                                    .charset = gw_arena_strdup(a, myt_text(row, 3)),
                                    .fraction = (unsigned)myt_u64(row, 4),
                                    .counts = myt_u64(row, 5) != 0,
                                    .not_null = myt_u64(row, 6) != 0,
                                    .stamps = myt_u64(row, 7) != 0};
    }
    *ret = have;
    return GW_OK;
}

const struct myt_have *
myt_find_have(const struct myt_have *have, const Gw__Column *c)
{
    while (have->name && !myt_same_name(have->name, c->name)) {
        have++;
    }
    return have;
}

static bool
uses_variables(const Gw__Table *table, const struct myt_have *have)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        const struct myt_have *h = myt_find_have(have, table->columns[i]);
        if (!table->columns[i]->left_out && h->name && myt_conv_by_variable(h)) {
            return true;
        }
    }
    return false;
}

static char *
load_statement(struct myt *t, struct gw_arena *a, const Gw__Table *table, const struct myt_have *have)
{
    MYT_BUF sql, set;
    gw_buf_init(&sql, MYT_SQL_MAX);
    gw_buf_init(&set, MYT_SQL_MAX);
    gw_buf_puts(&sql, "LOAD DATA LOCAL INFILE 'godwit' INTO TABLE ");
    myt_tname(&sql, t, table);
    gw_buf_puts(&sql, " CHARACTER SET binary FIELDS TERMINATED BY '\\t' ENCLOSED BY '' ESCAPED BY '\\\\'"
                      " LINES STARTING BY '' TERMINATED BY '\\n' (");
    bool variables = uses_variables(table, have);
    size_t n = 0;
    for (size_t i = 0; i < table->n_columns; i++) {
        const Gw__Column *c = table->columns[i];
        const struct myt_have *h = myt_find_have(have, c);
        if (c->left_out) {
            continue;
        }
        bool convert = h->name && myt_conv_by_variable(h);
        gw_buf_puts(&sql, n++ ? ", " : "");
        // A SET clause makes the server forget that the AUTO_INCREMENT column was given: its 0 would become the next
        // number. So that column goes into the clause as well.
        if (convert || (variables && h->name && h->counts)) {
            gw_buf_printf(&sql, "@godwit_%zu", i);
            myt_put(t, &set, convert ? "$s$i = CONVERT(@godwit_$u USING utf8mb4)" : "$s$i = @godwit_$u",
                    set.len ? ", " : " SET ", c->name, MYT_U(i));
        } else {
            gw_my_ident(&sql, c->name);
        }
    }
    gw_buf_putc(&sql, ')');
    gw_buf_puts(&sql, set.len ? set.data : "");
    return gw_arena_strdup(a, sql.data);
}

static int
ready(struct myt *t, const Gw__Table *table, struct gw_err *err)
{
    struct myt_load *l = &t->load;
    struct myt_have *have = NULL;
    gw_arena_reset(&l->arena);
    l->table = gw_pb_dup(&l->arena, table);
    int rc = myt_read_columns(t, &l->arena, table, &have, err);
    if (rc != GW_OK) {
        return rc;
    }
    l->statement = load_statement(t, &l->arena, table, have);
    l->conv = myt_conv_make(&l->arena, l->table, have);
    // No foreign keys while rows come in any order: finish makes them, or they are the table's own from before.
    return myt_run(t, err, "SET SESSION foreign_key_checks = 0");
}

int
myt_load_begin(void *self, struct gw_arena *a, const Gw__Table *table, const Gw__Chunk *c, bool careful,
               uint64_t *ret_epoch, Gw__Chunk *done, struct gw_err *err)
{
    struct myt *t = self;
    struct myt_load *l = &t->load;
    gw_assert(!l->open);
    uint64_t epoch = 0;
    int rc = myt_claim(t, a, c, &epoch, done, err);
    if (rc == GW_END) {
        return rc;
    }
    rc = rc == GW_OK ? myt_fault("apply.after_claim", err) : rc;
    rc = rc == GW_OK ? ready(t, table, err) : rc;
    rc = rc == GW_OK ? myt_begin(t, err) : rc;
    if (myt_end(t, rc) != GW_OK) {
        myt_unlock(t, l->lock);
        l->lock[0] = 0;
        return gw_err_wrap(err, "begin chunk %u of table \"%s.%s\"", c->no, myt_schema(t, table), table->name);
    }
    l->table_id = c->table_id;
    l->no = c->no;
    l->generation = c->generation;
    l->epoch = epoch;
    l->careful = careful;
    l->rows_loaded = l->rows_pending = 0;
    gw_buf_reset(&l->pending);
    l->open = true;
    *ret_epoch = epoch;
    return GW_OK;
}

// ---- rows

// What the server says on a refused row quotes its values. They are for the exceptions table, where the careful run
// brings them; of a fast run only the code is told.
static int
refused(const struct myt *t, struct gw_err *err, const char *code, const char *text)
{
    const struct myt_load *l = &t->load;
    if (l->careful) {
        return gw_err_set(err, GW_DATA, code, "%s", text);
    }
    return gw_err_set(err, GW_DATA, code, "table \"%s.%s\" refuses a row", myt_schema(t, l->table), l->table->name);
}

// Deprecations: about the statement, not about a value.
static bool
harmless(uint64_t code)
{
    static const unsigned codes[] = {1287, 1681, 3719, 3778};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i] == code) {
            return true;
        }
    }
    return false;
}

int
myt_judge_warnings(struct myt *t, unsigned long warnings, char code[16], char text[512], struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err, "SHOW WARNINGS");
    if (rc != GW_OK) {
        return rc;
    }
    code[0] = 0;
    snprintf(text, 512, "rows were skipped or altered");
    unsigned long fine = 0;
    bool grave = false;
    for (MYSQL_ROW row; (row = mysql_fetch_row(r));) {
        if (harmless(myt_u64(row, 1))) {
            fine++;
            continue;
        }
        bool note = strcmp(myt_text(row, 0), "Note") == 0;
        if (!code[0] || (!grave && !note)) {
            snprintf(code, 16, "%s", myt_text(row, 1));
            snprintf(text, 512, "%s", myt_text(row, 2));
        }
        grave = grave || !note;
    }
    return fine == warnings ? GW_OK : GW_DATA;
}

static int
statement_error(struct myt *t, struct gw_err *err)
{
    const struct myt_load *l = &t->load;
    unsigned errnum = mysql_errno(t->c);
    int rc = gw_my_error(t->c, err, "load rows");
    if (rc == GW_DATA) {
        char code[16], text[512];
        snprintf(code, sizeof code, "%u", errnum);
        snprintf(text, sizeof text, "%s", mysql_error(t->c));
        return refused(t, err, code, text);
    }
    if (errnum == 1148 || errnum == 3948 || errnum == 4166) {
        gw_err_hint(err, "allow it on the server: SET GLOBAL local_infile = 1");
    }
    return gw_err_wrap(err, "table \"%s.%s\"", myt_schema(t, l->table), l->table->name);
}

// One LOAD DATA of `nrows` rows; OK only if they are all in the table as they were sent.
static int
load_rows(struct myt *t, const char *rows, size_t len, uint32_t nrows, struct gw_err *err)
{
    struct myt_load *l = &t->load;
    struct feed feed = {rows, len};
    mysql_set_local_infile_handler(t->c, feed_init, feed_read, feed_end, feed_error, &feed);
    if (mysql_real_query(t->c, l->statement, (unsigned long)strlen(l->statement)) != 0) {
        return statement_error(t, err);
    }
    unsigned long records = 0, deleted = 0, skipped = 0, warnings = 0;
    const char *info = mysql_info(t->c);
    uint64_t affected = mysql_affected_rows(t->c);
    if (!info || sscanf(info, "Records: %lu Deleted: %lu Skipped: %lu Warnings: %lu", &records, &deleted, &skipped,
                        &warnings) != 4) {
        return gw_err_set(err, GW_BUG, "", "the server does not say what it loaded: %s", info ? info : "");
    }
    if ((warnings > 0 || skipped > 0) && GW_GUARD("mysql.load_report")) {
        char code[16], text[512];
        int rc = myt_judge_warnings(t, warnings, code, text, err);
        if (rc == GW_DATA || (rc == GW_OK && skipped > 0)) {
            return refused(t, err, code, text);
        }
        if (rc != GW_OK) {
            return rc;
        }
    }
    if ((records != nrows || affected != nrows || deleted != 0 || feed.left != 0) && GW_GUARD("mysql.load_report")) {
        // Rows that a CHECK refuses are not counted as records; a trigger can do that too.
        return refused(t, err, "", gw_arena_printf(&l->arena, "%u rows sent, %lu taken", nrows, records));
    }
    l->rows_loaded += nrows;
    return GW_OK;
}

static int
flush(struct myt *t, struct gw_err *err)
{
    struct myt_load *l = &t->load;
    int rc = l->rows_pending ? load_rows(t, l->pending.data, l->pending.len, l->rows_pending, err) : GW_OK;
    gw_buf_reset(&l->pending);
    l->rows_pending = 0;
    return rc;
}

// One span of rows that is taken whole or not at all.
static int
write_careful(struct myt *t, const char *rows, size_t len, uint32_t nrows, struct gw_err *err)
{
    struct myt_load *l = &t->load;
    gw_buf_reset(&l->pending);
    int rc = myt_convert(l->conv, &l->pending, rows, len, true, err);
    if (rc != GW_OK) {
        return rc;
    }
    rc = myt_run(t, err, "SAVEPOINT godwit_span");
    rc = rc == GW_OK ? load_rows(t, l->pending.data, l->pending.len, nrows, err) : rc;
    gw_buf_reset(&l->pending);
    if (rc == GW_OK) {
        return myt_run(t, err, "RELEASE SAVEPOINT godwit_span");
    }
    if (rc == GW_DATA && GW_GUARD("apply.savepoint")) {
        struct gw_err again = {0};
        int back = myt_run(t, &again, "ROLLBACK TO SAVEPOINT godwit_span");
        back = back == GW_OK ? myt_run(t, &again, "RELEASE SAVEPOINT godwit_span") : back;
        if (back != GW_OK) {
            if (err) {
                *err = again;
            }
            return back;
        }
    }
    return rc;
}

int
myt_load_write(void *self, const char *rows, size_t len, uint32_t nrows, struct gw_err *err)
{
    struct myt *t = self;
    struct myt_load *l = &t->load;
    struct gw_err local = {0};
    gw_assert(l->open);
    if (nrows == 0) {
        return GW_OK;
    }
    if (l->careful) {
        return write_careful(t, rows, len, nrows, err ? err : &local);
    }
    int rc = myt_convert(l->conv, &l->pending, rows, len, false, err ? err : &local);
    if (rc != GW_OK) {
        return rc;
    }
    l->rows_pending += nrows;
    return l->pending.len >= FLUSH_BYTES ? flush(t, err ? err : &local) : GW_OK;
}

// ---- end

int
myt_load_commit(void *self, const struct gw_target_counts *counts, const char *snapshot, struct gw_err *err)
{
    struct myt *t = self;
    struct myt_load *l = &t->load;
    struct gw_err local = {0};
    struct gw_err *e = err ? err : &local;
    gw_assert(l->open);
    int rc = flush(t, e);
    if (rc == GW_OK && counts->rows_written != l->rows_loaded) {
        rc = gw_err_set(e, GW_BUG, "", "%llu rows written, %llu counted", (unsigned long long)l->rows_loaded,
                        (unsigned long long)counts->rows_written);
    }
    rc = rc == GW_OK ? myt_fault("apply.before_fence", e) : rc;
    rc = rc == GW_OK ? myt_fence(t, counts, snapshot, e) : rc;
    rc = rc == GW_OK ? myt_fault("apply.before_commit", e) : rc;
    rc = rc == GW_OK ? myt_commit(t, e) : rc;
    l->open = false;
    rc = rc == GW_OK ? myt_fault("apply.after_commit", e) : rc;
    myt_end(t, rc);
    myt_unlock(t, l->lock);
    l->lock[0] = 0;
    if (rc != GW_OK && rc != GW_FENCED) {
        return gw_err_wrap(e, "chunk %u of table \"%s.%s\"", l->no, myt_schema(t, l->table), l->table->name);
    }
    return rc;
}

int
myt_load_abort(void *self, struct gw_err *err)
{
    struct myt *t = self;
    struct myt_load *l = &t->load;
    if (!l->open) {
        return GW_OK;
    }
    l->open = false;
    l->rows_pending = 0;
    gw_buf_reset(&l->pending);
    int rc = myt_run(t, err, "ROLLBACK");
    myt_unlock(t, l->lock);
    l->lock[0] = 0;
    return rc;
}
