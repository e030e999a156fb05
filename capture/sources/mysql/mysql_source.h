// The MySQL and MariaDB source: one file of the engine's parts, in reading order:
//   mysql.c     open, close, identity, list, sequences, the table of slots
//   describe.c  tables from information_schema and SHOW CREATE TABLE; ddl.c takes that text apart; objects.c keys and checks;
//               views.c what a view selects
//   types.c     native type -> canonical kind, and defaults
//   snapshot.c  the read view and the name of its point in time
//   plan.c      chunks; keys.c their keys, bounds and conditions; split.c key ranges of about equal bytes
//   read.c      a chunk's rows;  values.c  one row as COPY text
//   stream.h    the stream of changes, and its files
//
// A schema is a MySQL database. The text protocol is read row by row as the server sends it.
#ifndef GW_MYSQL_SOURCE_H
#define GW_MYSQL_SOURCE_H

#include "capture/source.h"
#include "common/copytext.h"
#include "common/db/my/my.h"

enum { MY_SQL_MAX = 64 << 20 };

static inline void
my_free_result(MYSQL_RES **r)
{
    mysql_free_result(*r); // takes NULL
}
#define MY_RES __attribute__((cleanup(my_free_result))) MYSQL_RES *
#define MY_BUF __attribute__((cleanup(gw_buf_fini))) struct gw_buf

// How a field of the result becomes the field of a row.
enum my_form {
    MY_TEXT,    // escaped
    MY_PLAIN,   // nothing in it needs escaping
    MY_DIGITS,  // ZEROFILL: leading zeros go
    MY_UTC,     // +00 behind it
    MY_BYTES,   // \x and hex
    MY_BITS,    // 0s and 1s
    MY_FLOAT32, // the shortest text of the float
};
struct my_column {
    enum my_form form;
    uint32_t bits;
};

struct my_source {
    MYSQL *db;
    struct gw_my_server server;
    bool opened;           // the arena is in use
    struct gw_arena arena; // the endpoint and password: a chunk is cancelled from a second connection
    Gw__Endpoint *ep;
    const char *password;
    unsigned long long snapshot_at; // not later than the snapshot; the server's seconds since 1970
    bool in_snapshot;
    bool keeps_locks; // metadata locks of what was read stay until the snapshot ends

    // The chunk that is being read.
    MYSQL_RES *rows;
    MYSQL_ROW held;            // a row that did not fit the last buffer; in the connection's memory
    bool proves_text;          // one more field: 1 = every text of the row has a Unicode form
    struct my_column *columns; // grows to the widest table
    size_t columns_n, columns_cap;

    struct my_stream *stream; // NULL: none was begun
};

// ---- SHOW CREATE TABLE -------------------------------------------------------------------------

struct my_ddl {
    const char **items; // columns, keys and constraints, in order, without the comma
    size_t n_items;
    const char
        *options; // what stands behind the body, without PARTITION BY; AUTO_INCREMENT= and COMMENT= are taken out
    const char *partition_by; // "" = none
};
bool my_ddl_parse(struct gw_arena *a, const char *sql, struct my_ddl *ret);
// Both skip quoted text and whatever is in parentheses. Returns what stands behind the word; NULL if it is not there.
const char *my_ddl_word(const char *text, const char *word);
// The text between the parenthesis at *p and its partner; *p moves behind it. NULL if there is none.
char *my_ddl_inside(struct gw_arena *a, const char **p);
// `name` at *p, unquoted; *p moves behind it. NULL if there is none.
char *my_ddl_name(struct gw_arena *a, const char **p);
// 'text' at *p, unquoted; *p moves behind it. NULL if there is none.
char *my_ddl_string(struct gw_arena *a, const char **p);
char *my_ddl_bytes(struct gw_arena *a, const char **p, size_t *ret_len); // the same; may hold any byte
const char *my_ddl_skip(const char *p);                                  // blanks

// ---- describe ----------------------------------------------------------------------------------

// A row of information_schema.columns.
struct my_type_facts {
    const char *data_type, *column_type, *charset, *collation;
    uint64_t length, octets;
    uint32_t precision, fraction; // NUMERIC_PRECISION, DATETIME_PRECISION
    int32_t scale;
    bool has_scale;
};
void my_type_map(struct gw_arena *a, const struct my_type_facts *f, Gw__Type *ret);
bool my_type_is_lob(const Gw__Type *t);
// `text` and `extra` as information_schema says them, `item` the column in the CREATE text. False: there is a default that the
// server does not tell exactly; it is left out.
bool my_default(struct gw_arena *a, const struct gw_my_server *server, Gw__Column *c, const char *text,
                const char *extra, const char *item);
// What stands in parentheses behind a word of the item; "" if nothing does.
char *my_ddl_expression(struct gw_arena *a, const char *item, const char *word);

void my_find(struct gw_arena *a, Gw__Catalog *cat, const Gw__Table *t, Gw__Severity severity, const char *object,
             char *message, const char *action);
Gw__Column *my_column_of(const Gw__Table *t, const char *name);
void my_objects(struct gw_arena *a, Gw__Table *t, const struct my_ddl *ddl, Gw__Catalog *cat);
int my_list(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err);
int my_describe(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err);
// The table's present definition as a short text; ret_sql (may be NULL): the CREATE text, "" for a view.
int my_fingerprint(struct my_source *s, struct gw_arena *a, const Gw__Table *t, char **ret, char **ret_sql,
                   struct gw_err *err);
// Changes when the view, or one that it reads however deep, is replaced. As of now, whatever the snapshot.
int my_hash_view_texts(struct my_source *s, const Gw__Table *t, uint64_t *ret, struct gw_err *err);

// ---- snapshot, plan, read ----------------------------------------------------------------------

int my_snapshot_begin(void *self, struct gw_arena *a, const char *handle, char **ret_token, char **ret_handle,
                      struct gw_err *err);
void my_snapshot_end(struct my_source *s);

struct my_key {
    const char *index; // quoted by the caller
    const Gw__Column **columns;
    size_t n;
    bool exact; // the bounds mean the same rows in every snapshot
};
// The clustered key, as far as it can be cut; n = 0: it cannot.
struct my_key my_key_choose(struct gw_arena *a, const Gw__Table *t);
// Appends "`a` > 1 OR (`a` = 1 AND `b` >= 'x')"; op is one of < <= > >=.
void
my_key_compare(struct gw_buf *sql, const Gw__Column *const *columns, size_t n, const char *op, char *const *values);
// A bound's value as a literal that compares with the column in the column's own way.
void my_key_literal(struct gw_buf *sql, const Gw__Column *c, const char *value);
void my_from(struct gw_buf *sql, const Gw__Table *t, const char *partition);

int my_plan(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule, uint64_t chunk_bytes,
            uint32_t lanes, Gw__TablePlan *plan, struct gw_err *err);
// Adds n or so chunks of `partition` ("" = the table). GW_END: it cannot be cut or is empty, nothing was added.
struct my_split {
    const Gw__Table *t;
    const char *partition;
    struct my_key key;
    uint64_t n, rows, bytes;
};
int
my_split(struct my_source *s, struct gw_arena *a, const struct my_split *what, Gw__TablePlan *plan, struct gw_err *err);

int my_chunk_begin(void *self, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err);
int
my_chunk_next(void *self, struct gw_buf *out, size_t want, uint32_t rows_max, uint32_t *ret_rows, struct gw_err *err);
int my_chunk_cancel(void *self, struct gw_err *err);
void my_chunk_end(struct my_source *s);

// Appends what to select for a column, and says how its field becomes text.
struct my_column my_value_select(struct gw_buf *sql, const Gw__Column *c);
// Whether the server's text of the column may lack characters that the column has (it writes ? for them), and
// the condition that it does not.
bool my_value_risky(const Gw__Column *c);
void my_value_proof(struct gw_buf *sql, const Gw__Column *c);
// Appends one row. False: it does not fit below out->max (nothing was appended).
bool
my_row_put(struct gw_buf *out, const struct my_column *columns, size_t n, MYSQL_ROW row, const unsigned long *lengths);
// One value as canonical text, not escaped, for a bound; NULL if it holds a NUL byte.
char *my_value_text(struct gw_arena *a, const Gw__Column *c, const char *value, size_t len);

// ---- stream ------------------------------------------------------------------------------------

int my_stream_preflight(void *self, struct gw_arena *a, const Gw__Task *task, Gw__Catalog *cat, struct gw_err *err);
int my_stream_open(void *self, struct gw_arena *a, const struct gw_stream_start *start, char **ret_position,
                   char **ret_handle, struct gw_err *err);
int my_stream_check(void *self, const struct gw_stream_start *start, struct gw_err *err);
int my_stream_close(void *self, const struct gw_stream_start *start, struct gw_err *err);
int my_stream_now(void *self, struct gw_arena *a, char **ret_position, struct gw_err *err);
int my_stream_begin(void *self, const struct gw_stream_start *start, struct gw_err *err);
int my_stream_next(void *self, int64_t deadline_us, struct gw_event *ret, struct gw_err *err);
int my_stream_fd(void *self);
int my_stream_confirm(void *self, const char *position, struct gw_err *err);
int my_stream_kept(void *self, uint64_t *ret_bytes, uint64_t *ret_left, struct gw_err *err);
void my_stream_end(struct my_source *s); // legal with none
int my_position_cmp(const char *a, const char *b, int *ret, struct gw_err *err);
int my_tx_visible(const char *token, const char *transaction, enum gw_visible *ret, struct gw_err *err);
int my_snapshot_covers(const char *first, const char *later, bool *ret, struct gw_err *err);

#endif
