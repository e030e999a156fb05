// The text of a value is the same whether the chunk reader or the stream says it: every type, edge values, random floats.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mysql_stream.h"

// Inserts happen behind the stream's start; then the tables are read by chunks, and both must say the same.
static void
same_values(struct log_fixture *f)
{
    struct conform *c = f->c;
    char *token = NULL, *handle = NULL;
    struct rows want = {0}, got = {0};
    f->copies = &got;
    log_catch_up(f);
    conform_ok(c, c->source->snapshot_begin(f->self, &c->arena, "", &token, &handle, &c->err));
    for (size_t i = 0; i < f->cat->n_tables; i++) {
        Gw__TablePlan *p = gw_pb_new(&c->arena, Gw__TablePlan, gw__table_plan__init);
        conform_ok(c, c->source->plan(f->self, &c->arena, f->cat->tables[i], NULL, 64 << 20, 1, p, &c->err));
        conform_read_chunks(c, c->source, f->self, f->cat->tables[i], p, 1 << 20, UINT32_MAX, &want, NULL);
    }
    assert_true(want.n > 0);
    const char *suspended = strstr(f->lines.data, "\nS ");
    if (suspended) {
        fail_msg("%.400s", suspended);
    }
    rows_equal(&got, &want);
    rows_free(&got);
    rows_free(&want);
    f->copies = NULL;
    log_forget(f);
}

static void
numbers(void **state)
{
    struct log_fixture f = log_start(state);
    log_run(&f,
            "CREATE TABLE n (id int PRIMARY KEY, a tinyint, b tinyint unsigned, c smallint, d smallint unsigned,"
            " e mediumint, f mediumint unsigned, g int, h int unsigned, i bigint, j bigint unsigned, k bool,"
            " l int(8) unsigned zerofill, m decimal(65,30), n decimal(10,0), o decimal(5,5), p decimal(30,9) unsigned,"
            " q decimal(9,2) zerofill, r bit(1), s bit(10), t bit(64), u year, v float(7,3), w double(20,5), x float"
            " zerofill, y decimal(18,9), z decimal(20,10))");
    log_begin(&f);
    log_run(&f, "INSERT INTO n VALUES (1,-128,255,-32768,65535,-8388608,16777215,-2147483648,4294967295,"
                "-9223372036854775808,18446744073709551615,true,42,"
                "-99999999999999999999999999999999999.999999999999999999999999999999,-9999999999,-0.99999,"
                "999999999999999999999.999999999,7.5,b'1',b'1000000001',0xfedcba9876543210,1901,1234.567,-1.5,3.25,"
                "-123456789.123456789,-0.0000000001)");
    log_run(&f, "INSERT INTO n VALUES (2,0,0,0,0,0,0,0,0,0,0,false,0,0,0,0,0,0,b'0',0,0,0,0,-0e0,0,0,0)");
    log_run(&f, "INSERT INTO n VALUES (3,127,1,32767,1,8388607,1,2147483647,1,9223372036854775807,1,2,12345678,"
                "0.000000000000000000000000000001,1,0.00001,0.1,9999999.99,b'1',b'1',1,2155,0.001,0.00001,1e30,"
                "100000000,999999999.9999999999)");
    log_run(&f, "INSERT INTO n (id) VALUES (4)");
    same_values(&f);
    log_end(&f);
}

// Bit patterns of all sizes, and the powers of two, where the distance to the next number changes.
static void
floats(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    struct log_fixture f = log_start(state);
    fprintf(stderr, "seed %u\n", seed);
    log_run(&f, "CREATE TABLE r (id int AUTO_INCREMENT PRIMARY KEY, f float, d double)");
    log_begin(&f);
    struct gw_buf sql;
    gw_buf_init(&sql, 64 << 20);
    for (int part = 0; part < 12; part++) {
        gw_buf_reset(&sql);
        for (int i = 0; i < 1000; i++) {
            unsigned long long bits = (unsigned long long)rand_r(&seed) << 62 ^
                                      (unsigned long long)rand_r(&seed) << 31 ^ (unsigned long long)rand_r(&seed);
            double d;
            memcpy(&d, &bits, sizeof d);
            int e = part * 1000 + i - 1074;
            d = part >= 3 ? d : e <= 1023 ? __builtin_ldexp(i % 2 ? -1 : 1, e) : (rand_r(&seed) % 100000) / 100.0;
            if (!__builtin_isfinite(d)) {
                d = 0.1;
            }
            double small = d > 3.4e38 || d < -3.4e38 ? (double)(float)(1 / d) : d;
            gw_buf_printf(&sql, "%s(%.17g, %.17g)", i ? ", " : "INSERT INTO r (f, d) VALUES ", (double)(float)small, d);
        }
        conform_ok(f.c, gw_my_exec(f.db, &f.c->err, "%s", sql.data));
    }
    gw_buf_fini(&sql);
    same_values(&f);
    log_end(&f);
}

static void
times(void **state)
{
    struct log_fixture f = log_start(state);
    log_run(&f, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'");
    log_run(&f,
            "CREATE TABLE t (id int PRIMARY KEY, a date, b time, c time(1), d time(2), e time(3), f time(4), g time(5),"
            " h time(6), i datetime, j datetime(1), k datetime(2), l datetime(3), m datetime(4), n datetime(5),"
            " o datetime(6), p timestamp NULL, q timestamp(1) NULL, r timestamp(3) NULL, s timestamp(6) NULL, u year)");
    log_begin(&f);
    static const char *const rows[] = {
        "'2026-11-23', '10:15:00', '10:15:00.9', '10:15:00.99', '10:15:00.999', '10:15:00.9999', '10:15:00.99999',"
        " '10:15:00.999999', '2026-11-23 10:15:00', '2026-11-23 10:15:00.9', '2026-11-23 10:15:00.99',"
        " '2026-11-23 10:15:00.999', '2026-11-23 10:15:00.9999', '2026-11-23 10:15:00.99999',"
        " '2026-11-23 10:15:00.999999', '2026-11-23 10:15:00', '2026-11-23 10:15:00.9', '2026-11-23 10:15:00.999',"
        " '2026-11-23 10:15:00.999999', 2026",
        "'0000-00-00', '-838:59:59', '-00:00:00.1', '-00:00:00.01', '-00:00:01.001', '-00:00:00.0001', "
        "'-100:00:00.00001',"
        " '-838:59:59.000001', '0000-00-00', '0000-00-00', '0000-00-00', '0000-00-00', '0000-00-00', '0000-00-00',"
        " '0000-00-00', '0000-00-00', '0000-00-00', '0000-00-00', '0000-00-00', 0",
        "'9999-12-31', '838:59:59', '838:59:59.0', '99:59:59.00', '838:59:59.000', '100:00:00.5', '-838:59:59',"
        " '838:59:59.000000', '9999-12-31 23:59:59', '9999-12-31 23:59:59.9', '9999-12-31 23:59:59.99',"
        " '9999-12-31 23:59:59.999', '9999-12-31 23:59:59.9999', '9999-12-31 23:59:59.99999',"
        " '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', '2038-01-19 03:14:07.9', '2038-01-19 03:14:07.999',"
        " '2038-01-19 03:14:07.999999', 2155",
        "'2024-02-31', '00:00:00', '00:00:00', '-10:00:00.50', '-10:00:00.5', '-23:59:59.9999', '-1:0:0.1', '-0:0:0.1',"
        " '2024-00-10', '2024-02-00', '0001-01-01', '1000-01-01 00:00:00.001', '2000-02-29', '1900-02-28', "
        "'0000-00-01',"
        " '1970-01-01 00:00:01', '1970-01-01 00:00:01.1', '2000-02-29 12:00:00', '2024-02-29 23:59:59.5', 1901",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        log_run(&f, "INSERT INTO t VALUES (%zu, %s)", i, rows[i]);
    }
    log_run(&f, "INSERT INTO t (id) VALUES (100)");
    same_values(&f);
    log_end(&f);
}

static void
texts(void **state)
{
    struct log_fixture f = log_start(state);
    log_run(&f, "SET SESSION sql_mode = ''");
    log_run(
        &f,
        "CREATE TABLE s (id int PRIMARY KEY, a char(10), b varchar(10), c varchar(300), d tinytext, e text,"
        " f mediumtext, g longtext, h binary(5), i varbinary(5), j varbinary(300), k tinyblob, l blob,"
        " m mediumblob, n longblob, o enum('a','it''s','Ü,x',''), p set('x','y z','ß'), q json, r char(0), s char(255),"
        " t geometry, u point)");
    log_begin(&f);
    log_run(
        &f,
        "INSERT INTO s VALUES (1, 'pad  ', 'keep  ', REPEAT('ä', 300), 'tiny', 'tab\\there', 'nl\\nhere', "
        "'back\\\\slash',"
        " 'ab', 'ab\\0', REPEAT(x'ff', 300), '', 'b\\0b', x'00', x'5c09', 'it''s', 'x,ß', '{\"a\": [1, 2.50, "
        "\"\\\\u00e4\"]}',"
        " '', REPEAT('😀', 255), ST_GeomFromText('LINESTRING(0 0, 1 1.5)', 0), ST_GeomFromText('POINT(1 2)', 4326))");
    log_run(&f,
            "INSERT INTO s VALUES (2, '', '', '', '', '', '', '', '', '', '', '', '', '', '', 'nonsense', '', 'null',"
            " '', '', NULL, NULL)");
    log_run(&f, "INSERT INTO s (id, e, h, o, p) VALUES (3, REPEAT('x', 65535), x'0000000000', 'Ü,x', 'x,y z,ß')");
    log_run(&f, "INSERT INTO s (id, h, o, p) VALUES (4, x'2020202020', '', 'y z')");
    log_run(&f, "INSERT INTO s (id, h, o, f) VALUES (5, x'41000000ff', 1, REPEAT('long ', 1000000))");
    log_run(&f, "INSERT INTO s (id) VALUES (6)");
    same_values(&f);
    log_end(&f);
}

static void
charsets(void **state)
{
    static const char *const names[] = {"latin1", "latin2",   "cp1251", "koi8r",  "greek",   "cp850",
                                        "ascii",  "utf8mb3",  "ucs2",   "utf16",  "utf16le", "utf32",
                                        "cp1250", "macroman", "hebrew", "latin5", "tis620"};
    struct log_fixture f = log_start(state);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        log_run(&f,
                "CREATE TABLE c_%s (id int PRIMARY KEY, a char(20), b varchar(100), c text, d enum('x','y') ) "
                "CHARACTER SET %s",
                names[i], names[i]);
    }
    log_run(
        &f,
        "CREATE TABLE mixed (id int PRIMARY KEY, a varchar(10) CHARACTER SET latin1, b varchar(10) CHARACTER SET "
        "utf8mb4"
        " COLLATE utf8mb4_bin, c enum('ä','ö') CHARACTER SET latin1, d set('я','ж') CHARACTER SET cp1251, e varchar(10)"
        " CHARACTER SET latin1 COLLATE latin1_bin)");
    log_begin(&f);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        log_run(&f, "INSERT INTO c_%s VALUES (1, 'abc  ', 'def  ', 'x\\ty', 'y'), (2, '', '', '', NULL)", names[i]);
    }
    // Every byte that has a Unicode form.
    for (unsigned b = 1; b < 256; b++) {
        log_run(&f,
                "INSERT INTO c_latin1 VALUES (%u, CHAR(%u USING latin1), CHAR(%u,%u USING latin1), CHAR(%u USING "
                "latin1), 'x')",
                b + 10, b, b, b, b);
        if (b == 0x98) {
            continue; // not in cp1251
        }
        log_run(&f,
                "INSERT INTO c_cp1251 SELECT %u, x, x, x, 'x' FROM (SELECT CHAR(%u USING cp1251) x) q"
                " WHERE CONVERT(CONVERT(x USING utf8mb4) USING cp1251) = BINARY x",
                b + 10, b);
    }
    log_run(&f, "INSERT INTO c_koi8r VALUES (3, 'Привет', 'мир', 'ёж', 'x')");
    log_run(&f, "INSERT INTO c_greek VALUES (3, 'αβγ', 'Ω', 'ώ', 'x')");
    log_run(&f, "INSERT INTO c_ucs2 VALUES (3, 'aä€ ', 'я', 'x', 'y')");
    log_run(&f, "INSERT INTO c_utf16 VALUES (3, 'aä€😀 ', '😀😀', 'x', 'y')");
    log_run(&f, "INSERT INTO c_utf16le VALUES (3, 'aä€😀 ', '😀😀', 'x', 'y')");
    log_run(&f, "INSERT INTO c_utf32 VALUES (3, 'aä€😀 ', '😀😀', 'x', 'y')");
    log_run(&f, "INSERT INTO mixed VALUES (1, 'ä€', 'ä€😀', 'ö', 'ж,я', 'ÿ')");
    same_values(&f);
    log_end(&f);
}

static void
of_mariadb(void **state)
{
    struct log_fixture f = log_start(state);
    log_run(
        &f,
        "CREATE TABLE m (id int PRIMARY KEY, u uuid, a inet6, b inet4, c varchar(100) COMPRESSED, d text COMPRESSED,"
        " e blob COMPRESSED, f int INVISIBLE, g longtext UNIQUE, v int AS (f * 2) VIRTUAL, w int AS (f * 3) STORED)");
    log_begin(&f);
    log_run(&f, "INSERT INTO m (id, u, a, b, c, d, e, f, g) VALUES"
                " (1, '123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329', '192.168.0.1', 'short', "
                "REPEAT('abc ', 500),"
                "  REPEAT(x'00ff', 700), 7, 'unique'),"
                " (2, '00000000-0000-0000-0000-000000000000', '::', '0.0.0.0', '', '', '', NULL, ''),"
                " (3, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '::ffff:192.168.0.1', '255.255.255.0', REPEAT('y', 100), "
                "'x', 'x', 1, 'u'),"
                " (4, '017f22e2-79b0-7cc3-98c4-dc0c0c07398f', '::1', '10.0.0.0', NULL, NULL, NULL, NULL, NULL),"
                " (5, 'c232ab00-9414-11ec-b3c8-9f6bdeced846', 'fe80::1', '1.2.3.4', 'ü', 'ü', 'ü', 0, 'ö'),"
                " (6, '919108f7-52d1-4320-9bac-f847db4148a8', '::1.2.3.4', '1.0.0.0', NULL, NULL, NULL, NULL, NULL)");
    same_values(&f);
    log_end(&f);
}

static const struct conform_test tests[] = {
    {"numbers", numbers}, {"floats", floats},     {"times", times},
    {"texts", texts},     {"charsets", charsets}, {"types of MariaDB", of_mariadb},
};

int
main(void)
{
    static const char *const engines[] = {"mysql"};
    return conform_run("mysql_values", tests, sizeof tests / sizeof *tests, engines, 1);
}
