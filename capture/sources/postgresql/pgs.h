// The PostgreSQL source, inside: what its files share, in reading order.
//
//   postgresql.c  open, close, identity, list, sequences, the table of slots
//   describe.c    tables and columns;  objects.c  keys, indexes, partitions, types: from the system catalogues
//   types.c       PostgreSQL type -> canonical kind
//   portable.c    expressions and defaults that every engine reads
//   snapshot.c    the shared snapshot
//   plan.c        chunks by key, by ctid, by partition, by rule
//   read.c        one chunk as COPY text
//   identity.c    replica identities
//   stream.h      the stream of changes, in files of its own
//
// One connection. From snapshot_begin on it is in a REPEATABLE READ, READ ONLY transaction that stays open: each
// chunk is a savepoint in it, so that giving up a chunk does not give up the snapshot.
#ifndef GW_SOURCE_PGS_H
#define GW_SOURCE_PGS_H

#include "capture/source.h"
#include "common/db/pg/pg.h"

enum { PGS_SQL_MAX = 16 << 20, PGS_VERSION_MIN = 120000 };

struct pgs_stream;

struct pgs {
    PGconn *c;
    struct gw_arena arena; // of the instance
    const Gw__Endpoint *ep;
    struct pgs_stream *stream; // NULL until the first stream_ call
    int version;               // 150018
    bool in_snapshot;
    bool reading;  // a COPY is open
    uint64_t rows; // of it, so far
    bool mid_row;  // the last piece did not end a row
};

static inline void
pgs_clear(PGresult **r)
{
    PQclear(*r);
}
#define PGS_RES __attribute__((cleanup(pgs_clear))) PGresult *
#define PGS_BUF __attribute__((cleanup(gw_buf_fini))) struct gw_buf

static inline const char *
pgs_text(const PGresult *r, int row, int col)
{
    return PQgetvalue(r, row, col);
}
static inline bool
pgs_true(const PGresult *r, int row, int col)
{
    return PQgetvalue(r, row, col)[0] == 't';
}
uint64_t pgs_u64(const PGresult *r, int row, int col);
int64_t pgs_i64(const PGresult *r, int row, int col);
int pgs_int(const PGresult *r, int row, int col);
static inline char *
pgs_dup(struct gw_arena *a, const PGresult *r, int row, int col)
{
    return gw_arena_strdup(a, PQgetvalue(r, row, col));
}
// The source's name of the table's column i.
const char *pgs_source_name(const Gw__Table *t, size_t i);
// Splits text at the unit separator (0x1f), which no query below lets into a name unnoticed.
void pgs_split(struct gw_arena *a, const char *text, char ***ret, size_t *n);
int pgs_query(struct pgs *s, PGresult **ret, struct gw_err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
// "ONLY schema.name" where inheritance children must not be read along.
void pgs_from(struct gw_buf *sql, const Gw__Table *t, const Gw__Chunk *c);

// A short text that changes when the table's columns (names, numbers, types) or its tree of partitions do. It asks the
// parser, which knows the catalogue as it is *now*: queries on the catalogue inside a snapshot would see it as it was.
int pgs_fingerprint(struct pgs *s, struct gw_arena *a, const char *schema, const char *name, char **ret,
                    struct gw_err *err);

// ---- describe.c, objects.c

// The tables that are being described, by oid.
struct pgs_rel {
    uint64_t oid;
    Gw__Table *t;
};
struct pgs_rels {
    struct pgs_rel *items; // sorted by oid
    size_t n;
    char *oids; // "{1,2,3}"
};
Gw__Table *pgs_rel_find(const struct pgs_rels *rels, uint64_t oid);
// t NULL: of the whole task.
void pgs_find(struct gw_arena *a, Gw__Catalog *cat, const Gw__Table *t, Gw__Severity severity, const char *object,
              const char *message, const char *action, const char *sql);
Gw__Column *pgs_column(const Gw__Table *t, const char *name);
int pgs_describe(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err);
int pgs_describe_objects(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, Gw__Catalog *cat,
                         struct gw_err *err);

// ---- identity.c: fills in Table.identity.
int pgs_describe_identity(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, struct gw_err *err);

// ---- types.c

struct pgs_type {
    const char *schema, *name, *typtype; // of the type under a domain
    int typmod;
    const char *labels;                                               // ENUM: separated by 0x1f
    const char *elem_schema, *elem_name, *elem_typtype, *elem_labels; // arrays
};
void pgs_type_map(struct gw_arena *a, const struct pgs_type *p, Gw__Type *ret);
bool pgs_type_is_lob(const Gw__Type *t);

// ---- portable.c

// The expression where PostgreSQL, MySQL and SQLite read it alike: comparisons, AND/OR/NOT, IN, IS NULL and
// + - * over columns, numbers and plain texts. NULL if it is more than that.
char *pgs_portable(struct gw_arena *a, const Gw__Table *t, const char *expression);
// Sets default_kind and default_text from default_native.
void pgs_default(struct gw_arena *a, Gw__Column *c);

// A table's columns in short, as the catalogue has them.
#define PGS_COLUMNS_HASH(oid)                                                                                          \
    "(SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(':', a.attnum, a.attname, a.atttypid,"          \
    " a.atttypmod, a.attnotnull, a.attgenerated), ',' ORDER BY a.attnum)) FROM pg_catalog.pg_attribute a"              \
    " WHERE a.attrelid = " oid " AND a.attnum > 0 AND NOT a.attisdropped)"

// ---- the slots of other files

// Back to savepoint godwit_locks, which the caller set before it read a table: frees the locks, keeps the snapshot.
int pgs_unlock(struct pgs *s, struct gw_err *err);
int pgs_snapshot_begin(void *self, struct gw_arena *a, const char *handle, char **ret_token, char **ret_handle,
                       struct gw_err *err);
int pgs_plan(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule,
             uint64_t chunk_bytes, uint32_t lanes, Gw__TablePlan *plan, struct gw_err *err);
int pgs_chunk_begin(void *self, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err);
int
pgs_chunk_next(void *self, struct gw_buf *out, size_t want, uint32_t rows_max, uint32_t *ret_rows, struct gw_err *err);
int pgs_chunk_cancel(void *self, struct gw_err *err);

#endif
