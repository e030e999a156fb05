#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/changes.h"
#include "cli/format.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "common/clock.h"

static json_t *
text(const char *s)
{
    struct gw_buf b;
    gw_buf_init(&b, 64 << 20);
    gw_text_utf8(&b, s ? s : "");
    json_t *j = json_stringn(b.data ? b.data : "", b.len);
    gw_buf_fini(&b);
    return j;
}

static json_t *
number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *
moment(int64_t wall_us)
{
    return wall_us ? json_string(gw_fmt_iso(wall_us).s) : json_null();
}

// Of a latency; null where it is not known.
static json_t *
milliseconds(int64_t us)
{
    return us < 0 ? json_null() : json_integer((json_int_t)(us / GW_MS));
}

static json_t *
seconds(int64_t us)
{
    return us < 0 ? json_null() : json_integer((json_int_t)(us / GW_S));
}

static void
put(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value); // fails only without memory
}

// All of them, whether or not the task has a stream: who reads them need not care.
static void
put_changes(json_t *j, const Gw__TableStatus *t)
{
    static const char *const captured[GW_CHANGE_OPS] = {"Inserts", "Updates", "Deletes", "Ddls"};
    static const char *const applied[GW_CHANGE_OPS] = {"AppliedInserts", "AppliedUpdates", "AppliedDeletes",
                                                       "AppliedDdls"};
    struct gw_changes c = gw_changes_of(t);
    for (size_t op = 0; op < GW_CHANGE_OPS; op++) {
        put(j, captured[op], number(c.captured[op]));
    }
    for (size_t op = 0; op < GW_CHANGE_OPS; op++) {
        put(j, applied[op], number(c.applied[op]));
    }
    put(j, "LastUpdateTime", moment(c.last_us));
    put(j, "changes_refused", number(c.errors));
    put(j, "changes_skipped", number(c.skipped));
}

static json_t *
table_json(const Gw__Status *s, const Gw__TableStatus *t)
{
    json_t *j = json_object();
    int64_t end = t->ended_us ? t->ended_us : s->ended_us ? s->ended_us : s->now_us;
    put(j, "SchemaName", text(t->schema));
    put(j, "TableName", text(t->name));
    put(j, "TargetSchemaName", text(t->target_schema));
    put(j, "TargetTableName", text(t->target_name));
    put(j, "TableState", text(t->state));
    put(j, "FullLoadRows", number(t->rows));
    put(j, "FullLoadErrorRows", number(t->rows_refused));
    put(j, "FullLoadStartTime", moment(t->started_us));
    put(j, "FullLoadEndTime", moment(t->ended_us));
    put_changes(j, t);
    put(j, "bytes", number(t->bytes));
    put(j, "duration_ms", number(t->started_us && end > t->started_us ? (uint64_t)((end - t->started_us) / GW_MS) : 0));
    put(j, "rows_in_flight", number(t->rows_in_flight));
    put(j, "rows_estimate", number(t->rows_estimate));
    put(j, "values_truncated", number(t->values_truncated));
    put(j, "chunks", number(t->chunks));
    put(j, "chunks_done", number(t->chunks_done));
    put(j, "steps", number(t->steps));
    put(j, "steps_done", number(t->steps_done));
    put(j, "snapshots", number(t->snapshots));
    put(j, "reason", *t->reason ? text(t->reason) : json_null());
    return j;
}

static json_t *
finding_json(const Gw__Finding *f)
{
    static const char *const words[] = {"info", "warning", "error"};
    json_t *j = json_object();
    bool known = (size_t)f->severity < sizeof words / sizeof *words;
    put(j, "severity", json_string(known ? words[f->severity] : "error"));
    put(j, "schema", text(f->schema));
    put(j, "table", text(f->table));
    put(j, "object", text(f->object));
    put(j, "message", text(f->message));
    put(j, "action", text(f->action));
    put(j, "sql", text(f->sql));
    return j;
}

static json_t *
failure_json(const struct gw_report *r)
{
    const Gw__Failure *f = r->status ? r->status->failure : NULL;
    json_t *j = json_object();
    if (r->err && r->err->cls != GW_OK) {
        put(j, "class", json_string(gw_class_name(r->err->cls)));
        put(j, "code", text(r->err->code));
        put(j, "message", text(r->err->message));
        put(j, "detail", text(r->err->detail));
        put(j, "hint", text(r->err->hint));
        return j;
    }
    if (f) {
        put(j, "class", json_string(f->cls <= GW_BUG ? gw_class_name((enum gw_class)f->cls) : "bug"));
        put(j, "code", text(f->code));
        put(j, "message", text(f->message));
        put(j, "detail", text(f->detail));
        put(j, "hint", text(f->hint));
        return j;
    }
    json_decref(j);
    return json_null();
}

static bool
is_child(const struct gw_report *r, const char *name)
{
    for (size_t i = 0; i < r->children_n; i++) {
        if (strcmp(r->children[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

// The coordinator knows who has said hello, on this host and on others; how often a process of this host was started
// again is known here.
static json_t *
workers_json(const struct gw_report *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->children_n; i++) {
        json_t *j = json_object();
        put(j, "name", text(r->children[i].name));
        put(j, "restarts", number(r->children[i].restarts));
        (void)json_array_append_new(list, j);
    }
    const Gw__Status *s = r->status;
    for (size_t i = 0; s && i < s->n_workers; i++) {
        const Gw__WorkerStatus *w = s->workers[i];
        if (is_child(r, w->name)) {
            continue;
        }
        json_t *j = json_object();
        put(j, "name", text(w->name));
        put(j, "pid", number(w->pid));
        put(j, "host", text(w->host));
        put(j, "doing", text(w->doing));
        put(j, "restarts", number(w->restarts));
        (void)json_array_append_new(list, j);
    }
    return list;
}

static void
put_statistics(json_t *j, const struct gw_report *r)
{
    const Gw__Status *s = r->status;
    struct gw_totals t;
    gw_progress_totals(s, &t);
    int percent = t.fraction >= 1 ? 100 : t.fraction > 0 ? (int)(t.fraction * 100) : 0;
    put(j, "FullLoadProgressPercent", json_integer(percent));
    put(j, "ElapsedTimeMillis", number((uint64_t)(r->elapsed_us / GW_MS)));
    put(j, "TablesLoaded", number(t.groups[GW_COMPLETED]));
    put(j, "TablesLoading", number(t.groups[GW_LOADING]));
    put(j, "TablesQueued", number(t.groups[GW_QUEUED]));
    put(j, "TablesErrored", number(t.groups[GW_FAILED]));
    put(j, "rows", number(t.rows_durable));
    put(j, "bytes", number(t.bytes_durable));
    put(j, "rows_refused", number(t.refused));
    put(j, "values_truncated", number(t.truncated));
    put(j, "load_ms", number(s->load_us / (uint64_t)GW_MS));
    double load_s = (double)s->load_us / 1e6;
    put(j, "rows_per_second", load_s > 0 ? json_integer((json_int_t)((double)t.rows_durable / load_s)) : json_null());
    put(j, "snapshots", number(s->snapshots));
    // A stream brings several points together before the load is done.
    bool one = s->snapshots == 1 || (s->stream && gw_progress_streams(s));
    put(j, "one_point_in_time", s->snapshots ? json_boolean(one) : json_null());
    if (s->stream) {
        put(j, "CDCLatencySource", seconds(s->stream->latency_source_us));
        put(j, "CDCLatencyTarget", seconds(s->stream->latency_target_us));
    }
}

static json_t *
stream_json(const Gw__Status *s)
{
    const Gw__StreamStatus *st = s->stream;
    if (!st) {
        return json_null();
    }
    struct gw_changes c = gw_changes_all(s);
    json_t *j = json_object();
    put(j, "position", text(st->position));
    put(j, "transactions", number(st->transactions));
    put(j, "captured", number(st->captured));
    put(j, "applied", number(st->applied));
    put(j, "refused", number(c.errors));
    put(j, "caught_up", json_boolean(st->caught_up));
    put(j, "latency_source_ms", milliseconds(st->latency_source_us));
    put(j, "latency_target_ms", milliseconds(st->latency_target_us));
    put(j, "log_kept_bytes", st->log_kept_bytes ? number(st->log_kept_bytes) : json_null());
    return j;
}

static void
put_status(json_t *j, const struct gw_report *r)
{
    const Gw__Status *s = r->status;
    put(j, "phase", text(s->phase));
    put(j, "ended", json_boolean(r->ended));
    put(j, "StopReason", *s->stop_reason ? text(s->stop_reason) : json_null());
    put(j, "already_complete", json_boolean(s->already_complete));
    put(j, "started", moment(s->started_us));
    put(j, "ended_at", moment(s->ended_us));
    put(j, "as_of", moment(s->now_us));
    json_t *statistics = json_object();
    put_statistics(statistics, r);
    put(j, "statistics", statistics);
    put(j, "stream", stream_json(s));
    json_t *tables = json_array(), *findings = json_array(), *warnings = json_array();
    for (size_t i = 0; i < s->n_tables; i++) {
        (void)json_array_append_new(tables, table_json(s, s->tables[i]));
    }
    for (size_t i = 0; i < s->n_findings; i++) {
        (void)json_array_append_new(findings, finding_json(s->findings[i]));
    }
    for (size_t i = 0; i < s->n_warnings; i++) {
        (void)json_array_append_new(warnings, text(s->warnings[i]));
    }
    put(j, "tables", tables);
    put(j, "findings", findings);
    put(j, "findings_total", number(s->findings_total));
    put(j, "warnings", warnings);
    put(j, "waiting_for", *s->waiting_for ? text(s->waiting_for) : json_null());
}

json_t *
gw_report_json(const struct gw_report *r)
{
    json_t *j = json_object();
    put(j, "godwit", json_string(GW_VERSION));
    const char *task = r->status ? r->status->task : r->task ? r->task->name : NULL;
    put(j, "task", task ? text(task) : json_null());
    put(j, "exit_code", json_integer(r->exit_code));
    put(j, "elapsed_ms", number((uint64_t)(r->elapsed_us / GW_MS)));
    put(j, "failure", failure_json(r));
    if (r->status) {
        put_status(j, r);
    } else {
        put(j, "tables", json_array());
        put(j, "findings", json_array());
    }
    put(j, "workers", workers_json(r));
    put(j, "state_folder", r->state ? text(r->state) : json_null());
    return j;
}

bool
gw_report_print_json(json_t *json)
{
    bool written = json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) == 0 && fputc('\n', stdout) != EOF &&
                   fflush(stdout) == 0;
    json_decref(json);
    return written;
}
