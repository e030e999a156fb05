// What is said of ongoing replication: how far it is, how it ended, and what that leaves to be done.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/changes.h"
#include "cli/format.h"
#include "cli/report.h"
#include "common/policy.h"

const char *
gw_report_control_schema(const struct gw_report *r)
{
    return r->task && *r->task->control_schema ? r->task->control_schema : "godwit";
}

static bool
is_source(const Gw__Task *task, const char *engine)
{
    return task && task->source && strcmp(task->source->engine, engine) == 0;
}

const char *
gw_report_left_on_source(const Gw__Task *task)
{
    // A MySQL server knows nothing of those who read its log.
    return gw_task_streams(task) && is_source(task, "postgresql") ? "the replication slot and the publication" : NULL;
}

static bool
stopped_for(const struct gw_report *r, const char *reason)
{
    return strcmp(r->status->stop_reason, reason) == 0;
}

const char *
gw_report_stream_verdict(const struct gw_report *r)
{
    bool well = r->exit_code == GW_EXIT_DONE;
    if (stopped_for(r, "STOPPED_AFTER_CACHED_EVENTS")) {
        return well ? "caught up" : "caught up, with errors";
    }
    if (stopped_for(r, "STOPPED_AFTER_FULL_LOAD")) {
        return well ? "loaded; the stream of changes is still to come" : "loaded, with errors";
    }
    return r->exit_code == GW_EXIT_STOPPED && gw_progress_streams(r->status) ? "stopped" : NULL;
}

static void
put_latency(struct gw_buf *out, const struct gw_report *r)
{
    const Gw__StreamStatus *st = r->status->stream;
    gw_buf_printf(out, "%s: source %s, target %s%s", r->ended ? "latency at the end" : "latency",
                  gw_fmt_latency(st->latency_source_us).s, gw_fmt_latency(st->latency_target_us).s,
                  st->caught_up && !st->latency_target_us ? "; caught up" : "");
    if (st->log_kept_bytes) {
        gw_buf_puts(out, "; ");
        gw_ink(out, &r->style, st->log_kept_bytes >= GW_LOG_KEPT_MUCH ? GW_INK_YELLOW : GW_INK_PLAIN);
        gw_buf_printf(out, "the source keeps %s of its log", gw_fmt_bytes(st->log_kept_bytes).s);
        gw_ink(out, &r->style, GW_INK_PLAIN);
    }
    gw_buf_putc(out, '\n');
}

void
gw_report_stream(struct gw_buf *out, const struct gw_report *r)
{
    const Gw__StreamStatus *st = r->status->stream;
    if (!st) {
        return;
    }
    struct gw_changes c = gw_changes_all(r->status);
    gw_buf_puts(out, "stream: position ");
    gw_text_wrap(out, *st->position ? st->position : "not known yet", SIZE_MAX, 0, r->style.utf8);
    gw_buf_printf(out, "; %s transaction%s, %s change%s applied", gw_fmt_count(st->transactions).s,
                  st->transactions == 1 ? "" : "s", gw_fmt_count(st->applied).s, st->applied == 1 ? "" : "s");
    if (st->applied) {
        gw_buf_printf(out, " (%s inserts, %s updates, %s deletes", gw_fmt_count(c.applied[GW_INSERTS]).s,
                      gw_fmt_count(c.applied[GW_UPDATES]).s, gw_fmt_count(c.applied[GW_DELETES]).s);
        if (c.applied[GW_DDLS]) {
            gw_buf_printf(out, ", %s ddls", gw_fmt_count(c.applied[GW_DDLS]).s);
        }
        gw_buf_putc(out, ')');
    }
    gw_buf_putc(out, '\n');
    put_latency(out, r);
    if (c.errors) {
        gw_buf_printf(out, "%s change%s refused by the target: see %s.exceptions there\n", gw_fmt_count(c.errors).s,
                      c.errors == 1 ? " was" : "s were", gw_report_control_schema(r));
    }
}

// Whoever stops here must know what the source pays for it.
static void
put_waiting_source(struct gw_buf *out, const struct gw_report *r)
{
    if (!*r->status->stream->position) {
        return; // nothing was opened
    }
    if (is_source(r->task, "postgresql")) {
        gw_buf_printf(out,
                      "meanwhile: the task's replication slot makes the source keep its log, until the task goes on or"
                      " is dropped: godwit drop %s\n",
                      r->task_path);
    } else if (is_source(r->task, "mysql")) {
        gw_buf_puts(out, "meanwhile: the source must keep its binary log from that position on, until the task goes "
                         "on\n");
    }
}

void
gw_report_stream_next(struct gw_buf *out, const struct gw_report *r, const struct gw_totals *t)
{
    if (t->groups[GW_FAILED]) {
        gw_buf_printf(
            out,
            "next: changes have passed the tables in error, and only a load makes those whole again: mend what"
            " is said\n      under each, then load them anew: godwit run %s --reload\n",
            r->task_path);
    }
    const char *also = t->groups[GW_FAILED] ? "the others go on with" : "next:";
    if (r->exit_code == GW_EXIT_STOPPED) {
        gw_buf_printf(out, "%s the same command%s: godwit run %s\n", also,
                      t->groups[GW_FAILED] ? "" : " goes on where this one stopped", r->task_path);
    } else if (stopped_for(r, "STOPPED_AFTER_CACHED_EVENTS") || stopped_for(r, "STOPPED_AFTER_FULL_LOAD")) {
        gw_buf_printf(out, "%s godwit run %s%s\n", also, r->task_path,
                      t->groups[GW_FAILED] ? "" : " carries the changes since");
    } else if (r->exit_code == GW_EXIT_UNREACHABLE || r->exit_code == GW_EXIT_TABLE_ERROR) {
        gw_buf_printf(out, "%s the same command%s\n", also,
                      t->groups[GW_FAILED] ? "" : " goes on from what is durable on the target");
    }
    put_waiting_source(out, r);
}
