// Several statements in one round trip: libpq's pipeline mode.
//
// After an error the server skips everything up to the Sync, so that a pipeline is: up to here, or not at all. libpq
// reads answers while it waits for room to send, so a long pipeline cannot block both ends.
#include <stdlib.h>
#include <string.h>

#include "stream.h"

static int
cannot_send(struct pgt *t, struct gw_err *err)
{
    return gw_pg_error(t->c, NULL, err, "send statements");
}

static int
add(struct pgt *t, enum pgt_slot slot)
{
    struct pgt_stream *s = t->stream;
    gw_assert(s->slots_n < PGT_PIPE_SLOTS);
    s->slots[s->slots_n++] = slot;
    return GW_OK;
}

int
pgt_pipe_put(struct pgt *t, enum pgt_slot slot, const char *name, int n, const char *const *values, const int *lengths,
             const int *formats, struct gw_err *err)
{
    if (PQsendQueryPrepared(t->c, name, n, values, lengths, formats, 0) != 1) {
        return cannot_send(t, err);
    }
    return add(t, slot);
}

int
pgt_pipe_prepare_plain(struct pgt *t, const char *name, const char *sql, int n, const Oid *types, struct gw_err *err)
{
    if (PQsendPrepare(t->c, name, sql, n, types) != 1) {
        return cannot_send(t, err);
    }
    return add(t, PGT_SLOT_PLAIN);
}

int
pgt_pipe_prepare(struct pgt *t, struct pgt_statement *st, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    for (int i = 0; i < st->n_params; i++) {
        s->types[i] = st->each ? PGT_TEXT_OID : PGT_TEXTS_OID;
    }
    if (PQsendPrepare(t->c, st->name, st->sql, st->n_params, s->types) != 1) {
        return cannot_send(t, err);
    }
    s->preparing = st;
    return add(t, PGT_SLOT_PREPARE);
}

int
pgt_pipe_open(struct pgt *t, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    s->slots_n = 0;
    s->preparing = NULL;
    s->failed = PGT_SLOT_PLAIN;
    if (PQenterPipelineMode(t->c) != 1) {
        return cannot_send(t, err);
    }
    if (!s->open) {
        return GW_OK;
    }
    int rc = GW_OK;
    if (s->need_begin) {
        struct pgt_num epoch;
        const char *p[] = {pgt_num(&epoch, s->epoch)};
        rc = pgt_pipe_put(t, PGT_SLOT_PLAIN, "gw_begin", 0, NULL, NULL, NULL, err);
        rc = rc == GW_OK
                 ? pgt_pipe_put(t, PGT_SLOT_PLAIN, s->replica ? "gw_replica" : "gw_local", 1, p, NULL, NULL, err)
                 : rc;
    }
    if (rc == GW_OK && s->need_release) {
        rc = pgt_pipe_put(t, PGT_SLOT_PLAIN, "gw_release", 0, NULL, NULL, NULL, err);
    }
    if (rc == GW_OK && s->need_mark) {
        rc = pgt_pipe_put(t, PGT_SLOT_PLAIN, "gw_mark", 0, NULL, NULL, NULL, err);
    }
    s->need_begin = s->need_release = s->need_mark = false;
    return rc;
}

// One answer. GW_AGAIN: it was skipped, because of an error before it.
static int
look_at(struct pgt *t, enum pgt_slot slot, const PGresult *r, uint64_t *ret_rows, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    switch (PQresultStatus(r)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK: break;
    case PGRES_PIPELINE_ABORTED: return GW_AGAIN;
    default: return pgt_row_error(t, r, err, "");
    }
    if (slot == PGT_SLOT_PREPARE) {
        s->preparing->prepared = true;
    } else if (slot == PGT_SLOT_ROWS && ret_rows) {
        *ret_rows += strtoull(PQcmdTuples((PGresult *)(uintptr_t)r), NULL, 10);
    } else if (slot == PGT_SLOT_COMMIT && strcmp(PQcmdStatus((PGresult *)(uintptr_t)r), "COMMIT") != 0) {
        // A failed transaction answers COMMIT with a roll-back, and calls that a success.
        return gw_err_set(err, GW_BUG, "", "commit: the server answered %s", PQcmdStatus((PGresult *)(uintptr_t)r));
    }
    return GW_OK;
}

static int
lost(struct pgt *t, struct gw_err *err)
{
    gw_pg_error(t->c, NULL, err, "the connection was lost");
    if (err) {
        err->cls = GW_RETRY;
    }
    return GW_RETRY;
}

int
pgt_pipe_close(struct pgt *t, uint64_t *ret_rows, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    if (PQpipelineSync(t->c) != 1) {
        return lost(t, err);
    }
    int rc = GW_OK;
    for (size_t i = 0; i < s->slots_n; i++) {
        PGT_RES r = PQgetResult(t->c);
        if (!r) {
            return rc == GW_OK ? lost(t, err) : rc;
        }
        int one = rc == GW_OK ? look_at(t, s->slots[i], r, ret_rows, err) : GW_OK;
        if (one != GW_OK) {
            gw_assert(one != GW_AGAIN); // what is skipped comes behind an error
            rc = one;
            s->failed = s->slots[i];
        }
        PQclear(PQgetResult(t->c)); // the NULL that ends a statement's answers
        if (PQstatus(t->c) != CONNECTION_OK) {
            return rc == GW_OK ? lost(t, err) : rc;
        }
    }
    PGT_RES sync = PQgetResult(t->c);
    if (PQresultStatus(sync) != PGRES_PIPELINE_SYNC || PQexitPipelineMode(t->c) != 1) {
        return rc == GW_OK ? lost(t, err) : rc;
    }
    return rc;
}

int
pgt_pipe_give_up(struct pgt *t, int rc)
{
    struct gw_err ignored = {0};
    int r = PQpipelineStatus(t->c) == PQ_PIPELINE_OFF ? GW_OK : pgt_pipe_close(t, NULL, &ignored);
    return r == GW_RETRY ? r : rc;
}
