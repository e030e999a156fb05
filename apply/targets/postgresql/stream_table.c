// What the server's catalogue says of a table that changes come for: read once a connection.
#include <string.h>

#include "stream.h"

static void
put_name(struct gw_buf *out, const char *name)
{
    gw_buf_put(out, name ? name : "", strlen(name ? name : "") + 1);
}

void
pgt_stream_key(struct gw_buf *out, const Gw__Table *t)
{
    gw_buf_put(out, &t->id, sizeof t->id);
    put_name(out, t->schema);
    put_name(out, t->name);
    for (size_t i = 0; i < t->n_primary_key; i++) {
        put_name(out, t->primary_key[i]);
    }
    gw_buf_putc(out, '\n');
    for (size_t i = 0; i < t->n_columns; i++) {
        put_name(out, t->columns[i]->name);
    }
}

// A domain is taken for what it is made of: a cast to the domain would be an explicit one to its base type with the
// modifier, and so cut a value that is too long; the assignment to the column raises. Equality is a type's default btree
// operator class; what has none (json, point, box, xml …) or an equality that is not one (box = box compares areas) is
// compared as text. An extension's type has its operator in the extension's schema.
#define COLUMNS                                                                                                        \
    "WITH RECURSIVE b(num, name, identity, typ) AS ("                                                                  \
    " SELECT attnum, attname, attidentity, atttypid FROM pg_attribute"                                                 \
    " WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped"                                                    \
    " UNION ALL SELECT b.num, b.name, b.identity, y.typbasetype FROM b JOIN pg_type y ON y.oid = b.typ"                \
    " WHERE y.typtype = 'd')"                                                                                          \
    "SELECT b.name, format_type(b.typ, -1), b.identity = 'a',"                                                         \
    " (SELECT n.nspname FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace"                              \
    "  WHERE o.oprname = '=' AND o.oprleft = b.typ AND o.oprright = b.typ AND n.nspname <> 'pg_catalog' LIMIT 1),"     \
    " NOT (e.typtype IN ('e', 'r', 'm') OR EXISTS (SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod"       \
    "  WHERE m.amname = 'btree' AND o.opcdefault AND (o.opcintype = e.oid OR EXISTS (SELECT FROM pg_cast c"            \
    "   WHERE c.castsource = e.oid AND c.casttarget = o.opcintype AND c.castmethod = 'b'"                              \
    "   AND c.castcontext = 'i')))),"                                                                                  \
    " coalesce(b.num = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]), false), coalesce(i.indnkeyatts, 0)"              \
    " FROM b JOIN pg_type y ON y.oid = b.typ AND y.typtype <> 'd'"                                                     \
    " JOIN pg_type e ON e.oid = CASE WHEN y.typcategory = 'A' AND y.typelem <> 0 THEN y.typelem ELSE y.oid END"        \
    " LEFT JOIN pg_index i ON i.indrelid = $1::oid AND i.indisprimary AND i.indimmediate AND i.indisvalid"

static void
fill(struct gw_arena *a, struct pgt_target_table *tab, const Gw__Table *table, const PGresult *r)
{
    size_t in_pk = 0, pk_n = 0;
    for (int row = 0; row < PQntuples(r); row++) {
        struct pgt_target_column *c = NULL;
        for (size_t i = 0; i < table->n_columns && !c; i++) {
            if (strcmp(pgt_clip(a, table->columns[i]->name), pgt_text(r, row, 0)) == 0) {
                c = &tab->columns[i];
                for (size_t k = 0; pgt_true(r, row, 5) && k < table->n_primary_key; k++) {
                    in_pk += strcmp(table->primary_key[k], table->columns[i]->name) == 0;
                }
            }
        }
        tab->identity = tab->identity || pgt_true(r, row, 2);
        pk_n = (size_t)pgt_u64(r, row, 6);
        if (c) {
            c->type = gw_arena_strdup(a, pgt_text(r, row, 1));
            c->identity_always = pgt_true(r, row, 2);
            c->equals = PQgetisnull(r, row, 3) ? NULL : gw_arena_strdup(a, pgt_text(r, row, 3));
            c->by_text = pgt_true(r, row, 4);
            c->in_pk = pgt_true(r, row, 5);
        }
    }
    tab->pk = pk_n > 0 && in_pk == pk_n && pk_n == table->n_primary_key;
}

static int
look_up(struct pgt *t, const Gw__Table *table, struct pgt_target_table *tab, struct gw_err *err)
{
    struct gw_arena *a = &t->stream->arena;
    PGT_RES r = NULL;
    const char *p[] = {pgt_clip(a, pgt_schema(table)), pgt_clip(a, table->name)};
    int rc = pgt_query(t, &r, err, 2, p,
                       "SELECT c.oid, c.relkind = 'p', EXISTS (SELECT FROM pg_catalog.pg_constraint k"
                       " WHERE k.confrelid = c.oid AND k.conrelid <> c.oid AND k.contype = 'f')"
                       " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')");
    if (rc == GW_OK && PQntuples(r) != 1) {
        rc = gw_err_set(err, GW_CONFIG, "42P01", "table \"%s.%s\" is not on the target", p[0], p[1]);
    }
    if (rc != GW_OK) {
        return rc;
    }
    tab->partitioned = pgt_true(r, 0, 1);
    tab->referenced = pgt_true(r, 0, 2);
    const char *q[] = {gw_arena_strdup(a, pgt_text(r, 0, 0))};
    rc = pgt_query(t, &r, err, 1, q, COLUMNS);
    if (rc == GW_OK) {
        fill(a, tab, table, r);
    }
    return rc;
}

int
pgt_stream_table(struct pgt *t, const Gw__Table *table, struct pgt_target_table **ret, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    gw_buf_reset(&s->key);
    pgt_stream_key(&s->key, table);
    for (struct pgt_target_table *x = s->tables; x; x = x->next) {
        if (x->key_len == s->key.len && memcmp(x->key, s->key.data, s->key.len) == 0) {
            *ret = x;
            return GW_OK;
        }
    }
    if (s->tables_n >= PGT_TABLES_MAX) {
        return gw_err_set(err, GW_BUG, "", "changes to more than %d tables", PGT_TABLES_MAX);
    }
    struct pgt_target_table *x = gw_arena_calloc(&s->arena, 1, sizeof *x);
    x->columns = gw_arena_calloc(&s->arena, table->n_columns + 1, sizeof *x->columns);
    x->key = gw_arena_memdup0(&s->arena, s->key.data, s->key.len);
    x->key_len = s->key.len;
    int rc = look_up(t, table, x, err);
    if (rc == GW_OK) {
        x->next = s->tables;
        s->tables = x;
        s->tables_n++;
        *ret = x;
    }
    return rc;
}
