// pgoutput's messages, one line of hexadecimal digits each on stdin, as text on stdout.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/sources/postgresql/pgoutput.h"

enum { LINE_MAX_BYTES = 1 << 20 };

static void
put_text(const char *s, size_t n)
{
    putchar('\'');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < ' ' || c == '\\') {
            printf("\\x%02x", c);
        } else {
            putchar(c);
        }
    }
    putchar('\'');
}

static void
put_tuple(const char *what, const struct pgo_tuple *t)
{
    printf(" %s(", what);
    const uint8_t *at = t->at;
    for (uint16_t i = 0; i < t->n; i++) {
        struct gw_value v = pgo_value_next(&at);
        printf("%s", i ? ", " : "");
        if (v.given != GW_PRESENT) {
            printf("%s", v.given == GW_NULL ? "NULL" : "unchanged");
        } else if (v.len > 100) {
            printf("%" PRIu32 " bytes", v.len);
        } else {
            put_text(v.data, v.len);
        }
    }
    printf(")");
}

static void
put_relation(const struct pgo_message *m)
{
    printf("relation oid=%" PRIu32 " \"%s\".\"%s\" identity %c:", m->relation, m->schema, m->name, m->identity);
    const uint8_t *at = m->columns;
    for (uint16_t i = 0; i < m->columns_n; i++) {
        struct pgo_column c = pgo_column_next(&at);
        printf(" \"%s\"%s type=%" PRIu32 " modifier %" PRId32, c.name, c.key ? "*" : "", c.type, c.typmod);
    }
}

static void
put_message(const struct pgo_message *m)
{
    switch (m->kind) {
    case 'B': printf("begin xid=%" PRIu32 " lsn=%" PRIx64 " time=%" PRId64, m->xid, m->lsn, m->time_us); break;
    case 'C': printf("commit lsn=%" PRIx64 " end=%" PRIx64 " time=%" PRId64, m->lsn, m->end_lsn, m->time_us); break;
    case 'O': printf("origin lsn=%" PRIx64 " %s", m->lsn, m->name); break;
    case 'Y': printf("type %s", m->name); break;
    case 'M': printf("message lsn=%" PRIx64 "%s %s", m->lsn, m->transactional ? " transactional" : "", m->name); break;
    case 'S': printf("part%s xid=%" PRIu32, m->first ? " first" : "", m->xid); break;
    case 'E': printf("part ends"); break;
    case 'A': printf("rollback xid=%" PRIu32 "%s", m->xid, m->sub == m->xid ? "" : " of a subtransaction"); break;
    case 'c':
        printf("commit xid=%" PRIu32 " lsn=%" PRIx64 " end=%" PRIx64 " time=%" PRId64, m->xid, m->lsn, m->end_lsn,
               m->time_us);
        break;
    case 'R': put_relation(m); break;
    case 'T':
        printf("truncate%s%s:", m->cascade ? " cascade" : "", m->restart ? " restart" : "");
        for (uint32_t i = 0; i < m->relations_n; i++) {
            printf(" oid=%" PRIu32, pgo_relation_at(m, i));
        }
        break;
    default:
        printf("%s oid=%" PRIu32, m->kind == 'I' ? "insert" : m->kind == 'U' ? "update" : "delete", m->relation);
        if (m->old_kind) {
            put_tuple(m->old_kind == 'K' ? "key" : "old", &m->old);
        }
        if (m->kind != 'D') {
            put_tuple("new", &m->new);
        }
        break;
    }
    putchar('\n');
}

int
main(void)
{
    static char line[LINE_MAX_BYTES * 2 + 2];
    bool in_part = false;
    while (fgets(line, sizeof line, stdin)) {
        size_t n = strcspn(line, "\n") / 2;
        uint8_t *bytes = malloc(n + 1); // of its exact size, so that a sanitizer sees what is read beyond it
        for (size_t i = 0; i < n; i++) {
            char digits[3] = {line[2 * i], line[2 * i + 1], 0};
            bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
        }
        struct pgo_message m;
        struct gw_err err = {0};
        struct pgo_part p = {0};
        int r = GW_OK;
        if (in_part && n && bytes[0] != 'E') {
            r = pgo_part_read(bytes, n, &p, &err);
            if (r == GW_OK && p.xid) { // without its number it is as any other
                n = p.len + 1;
                memmove(bytes + 1, p.body, p.len);
                printf("xid=%" PRIu32 " ", p.xid);
            }
        }
        r = r == GW_OK ? pgo_message_read(bytes, n, &m, &err) : r;
        if (r == GW_OK) {
            in_part = m.kind == 'S' || (in_part && m.kind != 'E');
            put_message(&m);
        } else {
            printf("error: %s\n", err.message);
        }
        free(bytes);
    }
    return 0;
}
