// Every target engine that alters tables against apply/target.h: alter and state_define, each twice, and what is refused.
#include <string.h>

#include "stream_sets.h"

static const char rows[] = "1\t10\tone\n2\t20\ttwo\n";

struct alter {
    struct conform *c;
    Gw__Table *from, *to;
};

// A table of two rows, and a copy of its definition to be changed.
static struct alter
start(void **state)
{
    struct alter x = {.c = stream_start(state)};
    if (!x.c->target->alter) {
        conform_end(x.c);
        skip();
    }
    x.from = stream_ready(x.c, target_catalog(x.c));
    stream_claim(x.c, x.c->b, false);
    stream_once(x.c, x.c->b, set_insert(x.c, x.from, NULL, rows), 2, "0/11");
    x.to = gw_pb_dup(&x.c->arena, x.from);
    for (size_t i = 0; i < x.to->n_columns; i++) {
        x.to->columns[i]->was = x.to->columns[i]->name;
    }
    return x;
}

static Gw__Column *
add_column(struct alter *x, const char *name, const char *fill)
{
    Gw__Column *c = gw_pb_dup(&x->c->arena, x->to->columns[1]);
    c->name = gw_arena_strdup(&x->c->arena, name);
    c->was = gw_arena_strdup(&x->c->arena, "");
    c->not_null = false;
    c->default_kind = GW__DEFAULT_KIND__DEFAULT_NONE;
    c->has_fill = fill != NULL;
    c->fill = gw_arena_strdup(&x->c->arena, fill ? fill : "");
    gw_pb_add(&x->c->arena, x->to, columns, c);
    gw_pb_add(&x->c->arena, x->to, source_columns, c->name);
    return c;
}

static void
drop_column(struct alter *x, size_t at)
{
    memmove(&x->to->columns[at], &x->to->columns[at + 1], (x->to->n_columns - at - 1) * sizeof *x->to->columns);
    memmove(&x->to->source_columns[at], &x->to->source_columns[at + 1],
            (x->to->n_source_columns - at - 1) * sizeof *x->to->source_columns);
    x->to->n_columns--;
    x->to->n_source_columns--;
}

static void
rename_column(struct alter *x, size_t at, const char *name)
{
    x->to->columns[at]->name = x->to->source_columns[at] = gw_arena_strdup(&x->c->arena, name);
}

// Done, and done again as after a crash.
static void
is(struct alter *x, const char *text)
{
    for (int i = 0; i < 2; i++) {
        conform_ok(x->c, x->c->target->alter(x->c->a, &x->c->arena, x->from, x->to, &x->c->err));
        target_table_is(x->c, x->to, text);
    }
    conform_end(x->c);
}

static void
refused(struct alter *x, const char *why)
{
    int rc = x->c->target->alter(x->c->a, &x->c->arena, x->from, x->to, &x->c->err);
    const struct gw_err e = x->c->err; // conform_is clears it
    conform_is(x->c, rc, GW_CONFIG);
    if (!strstr(e.message, why)) {
        fail_msg("\"%s\" does not say \"%s\"", e.message, why);
    }
    conform_close_target(x->c, &x->c->a);
    target_table_is(x->c, x->from, rows);
    conform_end(x->c);
}

static void
columns_are_added(void **state)
{
    struct alter x = start(state);
    (void)add_column(&x, "later", NULL);
    Gw__Column *filled = add_column(&x, "filled", "7");
    filled->not_null = true;
    Gw__Column *other = add_column(&x, "other", "8"); // its default is another one by now
    other->default_kind = GW__DEFAULT_KIND__DEFAULT_LITERAL;
    other->default_text = gw_arena_strdup(&x.c->arena, "9");
    is(&x, "1\t10\tone\t\\N\t7\t8\n2\t20\ttwo\t\\N\t7\t8\n");
}

static void
columns_are_dropped(void **state)
{
    struct alter x = start(state);
    drop_column(&x, 1);
    is(&x, "1\tone\n2\ttwo\n");
}

static void
columns_are_renamed(void **state)
{
    struct alter x = start(state);
    rename_column(&x, 1, "a \"name\" of `its` own");
    rename_column(&x, 2, "label2");
    is(&x, "1\t10\tone\n2\t20\ttwo\n");
}

static void
everything_at_once(void **state)
{
    struct alter x = start(state);
    x.to->name = gw_arena_strdup(&x.c->arena, "renamed");
    rename_column(&x, 2, "label2");
    drop_column(&x, 1);
    (void)add_column(&x, "later", "5");
    conform_ok(x.c, x.c->target->alter(x.c->a, &x.c->arena, x.from, x.to, &x.c->err));
    Gw__Table gone = *x.to;
    conform_ok(x.c, x.c->target->alter(x.c->a, &x.c->arena, &gone, NULL, &x.c->err));
    conform_ok(x.c, x.c->target->alter(x.c->a, &x.c->arena, &gone, NULL, &x.c->err));
    conform_end(x.c);
}

static void
a_wider_type(void **state)
{
    struct alter x = start(state);
    Gw__Type *t = x.to->columns[1]->type = gw_pb_dup(&x.c->arena, x.to->columns[1]->type);
    t->kind = GW__KIND__KIND_INT64;
    t->native = gw_arena_strdup(&x.c->arena, "");
    is(&x, rows);
}

static void
another_type(void **state)
{
    struct alter x = start(state);
    Gw__Type *t = x.to->columns[1]->type = gw_pb_dup(&x.c->arena, x.to->columns[1]->type);
    t->kind = GW__KIND__KIND_DATE;
    t->native = gw_arena_strdup(&x.c->arena, "");
    refused(&x, x.to->columns[1]->name);
}

static void
no_value_is_known(void **state)
{
    struct alter x = start(state);
    add_column(&x, "later", NULL)->not_null = true;
    refused(&x, "no value is known");
}

static void
names_are_exchanged(void **state)
{
    struct alter x = start(state);
    rename_column(&x, 1, x.from->columns[2]->name);
    rename_column(&x, 2, x.from->columns[1]->name);
    refused(&x, "another column's");
}

// The column that is there may be the old one or, when this is a repetition, the new one: nothing tells.
static void
a_name_is_anothers_now(void **state)
{
    struct alter added = start(state);
    added.to->columns[1]->was = gw_arena_strdup(&added.c->arena, "");
    added.to->columns[1]->has_fill = true;
    added.to->columns[1]->fill = gw_arena_strdup(&added.c->arena, "5");
    refused(&added, "another column's");
    struct alter renamed = start(state);
    rename_column(&renamed, 1, "other");
    rename_column(&renamed, 2, renamed.from->columns[1]->name);
    refused(&renamed, "another column's");
    struct alter dropped = start(state);
    const char *name = dropped.from->columns[1]->name;
    drop_column(&dropped, 1);
    rename_column(&dropped, 1, name);
    refused(&dropped, "another column's");
}

static void
another_key(void **state)
{
    struct alter x = start(state);
    x.to->primary_key[0] = x.to->columns[1]->name;
    refused(&x, "the primary key is another one");
}

// ---- what is stored ------------------------------------------------------------------------------

static int
define(struct conform *c, const Gw__Table *t, uint64_t ddls, const char *at, Gw__TableState state)
{
    Gw__TablePlan p = GW__TABLE_PLAN__INIT;
    Gw__Table source = *t, target = *t;
    source.altered_at = (char *)(uintptr_t)at;
    p.source = &source;
    p.target = &target;
    p.generation = 1;
    p.ddls = ddls;
    p.state = state;
    return c->target->state_define(c->a, t->id, &p, &c->err);
}

static void
another_task(void **state)
{
    struct alter x = start(state);
    (void)add_column(&x, "later", NULL);
    conform_close_target(x.c, &x.c->a);
    char *ours = x.c->task->uuid;
    x.c->task->uuid = gw_arena_strdup(&x.c->arena, "22222222-2222-4222-8222-222222222222");
    x.c->a = conform_open_target(x.c, "00000000-0000-4000-8000-00000000000c");
    conform_is(x.c, x.c->target->alter(x.c->a, &x.c->arena, x.from, x.to, &x.c->err), GW_FENCED);
    conform_is(x.c, define(x.c, x.to, 1, "0/2", GW__TABLE_STATE__STATE_COMPLETED), GW_FENCED);
    x.c->task->uuid = ours;
    conform_close_target(x.c, &x.c->a);
    target_table_is(x.c, x.from, rows);
    conform_end(x.c);
}

static void
definitions_follow_each_other(void **state)
{
    struct alter x = start(state);
    struct conform *c = x.c;
    const Gw__TableState done = GW__TABLE_STATE__STATE_COMPLETED;
    conform_ok(c, define(c, x.to, 1, "0/2", done));
    conform_ok(c, define(c, x.to, 1, "0/2", done)); // the answer was lost
    const Gw__TablePlan *p = target_stored(c)->tables[0];
    assert_string_equal(p->source->altered_at, "0/2");
    assert_int_equal(p->state, done);
    assert_int_equal(p->n_chunks, 1); // what was loaded
    conform_ok(c, define(c, x.to, 2, "0/3", done));
    // Somebody who has slept meanwhile.
    conform_is(c, define(c, x.to, 1, "0/2", done), GW_FENCED);
    conform_close_target(c, &c->a);
    c->a = conform_open_target(c, "22222222-2222-4222-8222-222222222222");
    conform_is(c, define(c, x.to, 2, "0/4", done), GW_FENCED);
    conform_close_target(c, &c->a);
    c->a = conform_open_target(c, "22222222-2222-4222-8222-222222222222");
    assert_string_equal(target_stored(c)->tables[0]->source->altered_at, "0/3");
    // Before a load there are no chunks.
    conform_ok(c, define(c, x.to, 3, "0/5", GW__TABLE_STATE__STATE_BEFORE_LOAD));
    assert_int_equal(target_stored(c)->tables[0]->n_chunks, 0);
    // A table that is new, and one that leaves the task.
    Gw__Table new = *x.to;
    new.id = 77;
    new.source_name = new.name = gw_arena_strdup(&c->arena, "new");
    conform_ok(c, define(c, &new, 1, "0/6", GW__TABLE_STATE__STATE_BEFORE_LOAD));
    assert_int_equal(target_stored(c)->n_tables, 2);
    conform_ok(c, c->target->state_define(c->a, x.to->id, NULL, &c->err));
    conform_ok(c, c->target->state_define(c->a, x.to->id, NULL, &c->err));
    assert_int_equal(target_stored(c)->n_tables, 1);
    assert_int_equal(target_stored(c)->tables[0]->source->id, 77);
    conform_end(c);
}

int
main(void)
{
    static const struct conform_test tests[] = {
        {"columns are added", columns_are_added},
        {"columns are dropped", columns_are_dropped},
        {"columns are renamed", columns_are_renamed},
        {"everything at once", everything_at_once},
        {"a wider type", a_wider_type},
        {"another type", another_type},
        {"no value is known", no_value_is_known},
        {"names are exchanged", names_are_exchanged},
        {"a name is another's now", a_name_is_anothers_now},
        {"another key", another_key},
        {"another task", another_task},
        {"definitions follow each other", definitions_follow_each_other},
    };
    static const char *const engines[] = {"postgresql", "mysql", "sqlite"};
    return conform_run("target_alter", tests, sizeof tests / sizeof *tests, engines, sizeof engines / sizeof *engines);
}
