// Prints the type maps of docs/engines.md from the engines' own tables. tests/golden/test_typemap.py compares.
#include <stdio.h>
#include <string.h>

#include "apply/targets/mysql/myt.h"
#include "apply/targets/postgresql/pgt.h"
#include "apply/targets/sqlite/sqlite_target.h"
#include "capture/sources/mysql/mysql_source.h"
#include "capture/sources/postgresql/pgs.h"
#include "capture/sources/sqlite/sqlite_source.h"

static struct gw_arena arena;

// "VARCHAR(40)", "NUMERIC(12,2)", "INT64 unsigned", "ARRAY of INT32": the kind with what belongs to it.
static const char *
kind_text(const Gw__Type *t)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(&gw__kind__descriptor, (int)t->kind);
    const char *name = v ? v->name + strlen("KIND_") : "?";
    if (t->kind == GW__KIND__KIND_ARRAY && t->element) {
        return gw_arena_printf(&arena, "ARRAY of %s", kind_text(t->element));
    }
    if (t->kind == GW__KIND__KIND_NUMERIC && t->has_scale) {
        return gw_arena_printf(&arena, "%s(%u,%d)", name, t->precision, t->scale);
    }
    if (t->has_scale) {
        return gw_arena_printf(&arena, "%s(%u)", name, t->precision);
    }
    if (t->length) {
        return gw_arena_printf(&arena, "%s(%llu)", name, (unsigned long long)t->length);
    }
    return gw_arena_printf(&arena, "%s%s", name, t->is_unsigned ? " unsigned" : "");
}

// ---- kinds on the targets ----------------------------------------------------------------------

static Gw__Type
type(Gw__Kind kind, uint64_t length, uint32_t precision, int32_t scale, bool has_scale, bool is_unsigned)
{
    Gw__Type t = GW__TYPE__INIT;
    t.kind = kind;
    t.length = length;
    t.precision = precision;
    t.scale = scale;
    t.has_scale = has_scale;
    t.is_unsigned = is_unsigned;
    return t;
}

static void
print_target_row(Gw__Type *t)
{
    static char *labels[] = {"a", "b"};
    Gw__Type element = type(GW__KIND__KIND_INT32, 0, 0, 0, false, false);
    if (t->kind == GW__KIND__KIND_ENUM || t->kind == GW__KIND__KIND_SET) {
        t->labels = labels;
        t->n_labels = 2;
    }
    t->element = t->kind == GW__KIND__KIND_ARRAY ? &element : NULL;
    Gw__Column c = GW__COLUMN__INIT, *columns[] = {&c};
    c.name = gw_arena_strdup(&arena, "c");
    c.type = t;
    Gw__Table table = GW__TABLE__INIT;
    table.name = gw_arena_strdup(&arena, "t");
    table.engine = gw_arena_strdup(&arena, "another");
    table.columns = columns;
    table.n_columns = 1;
    struct gw_buf pg, my, lite;
    gw_buf_init(&pg, 4096);
    gw_buf_init(&my, 4096);
    gw_buf_init(&lite, 4096);
    pgt_type(&pg, &table, t);
    struct myt mariadb = {.server = {.mariadb = true, .version = 101106}};
    myt_type(&my, &mariadb, &table, &c);
    lite_declare(&lite, &table, &c);
    printf("| %s | `%s` | `%s` | `%s` |\n", kind_text(t), pg.data, my.data, lite.data);
    gw_buf_fini(&pg);
    gw_buf_fini(&my);
    gw_buf_fini(&lite);
}

static void
print_targets(void)
{
    printf("| kind | PostgreSQL | MariaDB | SQLite |\n|---|---|---|---|\n");
    for (int k = GW__KIND__KIND_BOOL; k <= GW__KIND__KIND_OTHER; k++) {
        Gw__Type plain = type((Gw__Kind)k, 0, 0, 0, false, false);
        print_target_row(&plain);
        switch (k) {
        case GW__KIND__KIND_INT8:
        case GW__KIND__KIND_INT16:
        case GW__KIND__KIND_INT24:
        case GW__KIND__KIND_INT32:
        case GW__KIND__KIND_INT64: plain = type((Gw__Kind)k, 0, 0, 0, false, true); break;
        case GW__KIND__KIND_NUMERIC: plain = type((Gw__Kind)k, 0, 12, 2, true, false); break;
        case GW__KIND__KIND_CHAR:
        case GW__KIND__KIND_VARCHAR:
        case GW__KIND__KIND_BINARY:
        case GW__KIND__KIND_VARBINARY:
        case GW__KIND__KIND_BIT:
        case GW__KIND__KIND_VARBIT: plain = type((Gw__Kind)k, 40, 0, 0, false, false); break;
        case GW__KIND__KIND_TIME:
        case GW__KIND__KIND_TIMETZ:
        case GW__KIND__KIND_TIMESTAMP:
        case GW__KIND__KIND_TIMESTAMPTZ:
        case GW__KIND__KIND_DURATION: plain = type((Gw__Kind)k, 0, 3, 0, true, false); break;
        default: continue;
        }
        print_target_row(&plain);
    }
}

// ---- what sources make of their types ----------------------------------------------------------

static void
print_postgresql(void)
{
    // Name in pg_type, modifier as pg_attribute.atttypmod packs it, how people write it.
    static const struct {
        const char *name;
        int typmod;
        const char *written;
    } types[] = {
        {"bool", -1, "boolean"},
        {"int2", -1, "smallint"},
        {"int4", -1, "integer"},
        {"int8", -1, "bigint"},
        {"oid", -1, "oid"},
        {"numeric", -1, "numeric"},
        {"numeric", ((12 << 16) | 2) + 4, "numeric(12,2)"},
        {"numeric", ((5 << 16) | (-2 & 0x7ff)) + 4, "numeric(5,-2)"},
        {"float4", -1, "real"},
        {"float8", -1, "double precision"},
        {"money", -1, "money"},
        {"bpchar", 44, "character(40)"},
        {"varchar", 44, "character varying(40)"},
        {"varchar", -1, "character varying"},
        {"text", -1, "text"},
        {"citext", -1, "citext"},
        {"name", -1, "name"},
        {"bytea", -1, "bytea"},
        {"date", -1, "date"},
        {"time", -1, "time"},
        {"timetz", -1, "time with time zone"},
        {"timestamp", 3, "timestamp(3)"},
        {"timestamp", -1, "timestamp"},
        {"timestamptz", -1, "timestamp with time zone"},
        {"interval", -1, "interval"},
        {"uuid", -1, "uuid"},
        {"json", -1, "json"},
        {"jsonb", -1, "jsonb"},
        {"xml", -1, "xml"},
        {"bit", 8, "bit(8)"},
        {"varbit", -1, "bit varying"},
        {"inet", -1, "inet"},
        {"cidr", -1, "cidr"},
        {"macaddr", -1, "macaddr"},
        {"int4range", -1, "int4range"},
        {"point", -1, "point"},
        {"tsvector", -1, "tsvector"},
    };
    printf("| PostgreSQL | kind |\n|---|---|\n");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct pgs_type p = {.schema = "pg_catalog",
                             .name = types[i].name,
                             .typtype = "b",
                             .typmod = types[i].typmod,
                             .labels = "",
                             .elem_schema = "",
                             .elem_name = "",
                             .elem_typtype = " ",
                             .elem_labels = ""};
        Gw__Type t = GW__TYPE__INIT;
        pgs_type_map(&arena, &p, &t);
        printf("| `%s` | %s |\n", types[i].written, kind_text(&t));
    }
    struct pgs_type array = {.schema = "pg_catalog",
                             .name = "_int4",
                             .typtype = "b",
                             .typmod = -1,
                             .labels = "",
                             .elem_schema = "pg_catalog",
                             .elem_name = "int4",
                             .elem_typtype = "b",
                             .elem_labels = ""};
    Gw__Type t = GW__TYPE__INIT;
    pgs_type_map(&arena, &array, &t);
    printf("| `integer[]` | %s |\n", kind_text(&t));
    struct pgs_type mood = {.schema = "shop",
                            .name = "mood",
                            .typtype = "e",
                            .typmod = -1,
                            .labels = "sad\x1fok",
                            .elem_schema = "",
                            .elem_name = "",
                            .elem_typtype = " ",
                            .elem_labels = ""};
    Gw__Type e = GW__TYPE__INIT;
    pgs_type_map(&arena, &mood, &e);
    printf("| an enumeration | %s |\n| a domain | that of its base type |\n", kind_text(&e));
}

static void
print_mysql(void)
{
    static const struct my_type_facts types[] = {
        {.data_type = "tinyint", .column_type = "tinyint(4)"},
        {.data_type = "tinyint", .column_type = "tinyint(1)"},
        {.data_type = "tinyint", .column_type = "tinyint(3) unsigned"},
        {.data_type = "smallint", .column_type = "smallint(6)"},
        {.data_type = "mediumint", .column_type = "mediumint(9)"},
        {.data_type = "int", .column_type = "int(11)"},
        {.data_type = "int", .column_type = "int(10) unsigned"},
        {.data_type = "bigint", .column_type = "bigint(20)"},
        {.data_type = "bigint", .column_type = "bigint(20) unsigned"},
        {.data_type = "decimal", .column_type = "decimal(12,2)", .precision = 12, .scale = 2, .has_scale = true},
        {.data_type = "float", .column_type = "float"},
        {.data_type = "double", .column_type = "double"},
        {.data_type = "bit", .column_type = "bit(8)", .precision = 8},
        {.data_type = "char", .column_type = "char(40)", .length = 40, .octets = 160, .charset = "utf8mb4"},
        {.data_type = "varchar", .column_type = "varchar(40)", .length = 40, .octets = 160, .charset = "utf8mb4"},
        {.data_type = "text", .column_type = "text", .length = 65535, .octets = 65535, .charset = "utf8mb4"},
        {.data_type = "longtext",
         .column_type = "longtext",
         .length = 4294967295,
         .octets = 4294967295,
         .charset = "utf8mb4"},
        {.data_type = "binary", .column_type = "binary(16)", .length = 16, .octets = 16},
        {.data_type = "varbinary", .column_type = "varbinary(40)", .length = 40, .octets = 40},
        {.data_type = "blob", .column_type = "blob", .length = 65535, .octets = 65535},
        {.data_type = "longblob", .column_type = "longblob", .length = 4294967295, .octets = 4294967295},
        {.data_type = "date", .column_type = "date"},
        {.data_type = "time", .column_type = "time(3)", .fraction = 3},
        {.data_type = "datetime", .column_type = "datetime(6)", .fraction = 6},
        {.data_type = "timestamp", .column_type = "timestamp"},
        {.data_type = "year", .column_type = "year(4)"},
        {.data_type = "enum", .column_type = "enum('a','b')", .charset = "utf8mb4"},
        {.data_type = "set", .column_type = "set('a','b')", .charset = "utf8mb4"},
        {.data_type = "json", .column_type = "json"},
        {.data_type = "uuid", .column_type = "uuid"},
        {.data_type = "inet6", .column_type = "inet6"},
        {.data_type = "point", .column_type = "point"},
    };
    printf("| MySQL, MariaDB | kind |\n|---|---|\n");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct my_type_facts f = types[i];
        f.charset = f.charset ? f.charset : "";
        f.collation = "";
        Gw__Type t = GW__TYPE__INIT;
        my_type_map(&arena, &f, &t);
        printf("| `%s` | %s |\n", f.column_type, kind_text(&t));
    }
}

static void
print_sqlite(void)
{
    static const char *const types[] = {
        "INTEGER",
        "INT",
        "BIGINT",
        "SMALLINT",
        "BOOLEAN",
        "REAL",
        "DOUBLE",
        "FLOAT",
        "NUMERIC",
        "DECIMAL(12,2)",
        "DECIMAL_TEXT(12,2)",
        "TEXT",
        "VARCHAR(40)",
        "CHAR(40)",
        "CLOB",
        "BLOB",
        "DATE",
        "TIME",
        "DATETIME",
        "TIMESTAMP",
        "TIMESTAMPTZ",
        "UUID",
        "JSON",
        "JSON_TEXT",
        "",
    };
    printf("| SQLite, declared | kind |\n|---|---|\n");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        Gw__Type t = GW__TYPE__INIT;
        lite_type_map(&arena, types[i], NULL, &t);
        printf("| `%s` | %s |\n", types[i][0] ? types[i] : " ", kind_text(&t));
    }
}

int
main(void)
{
    gw_arena_init(&arena);
    print_postgresql();
    printf("\n");
    print_mysql();
    printf("\n");
    print_sqlite();
    printf("\n");
    print_targets();
    gw_arena_fini(&arena);
    return 0;
}
