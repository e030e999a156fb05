// One chunk on its way: read inside the snapshot, sent within credit, its totals at the end.
#include <stdlib.h>
#include <string.h>

#include "capture/capture.h"
#include "common/fault.h"

static int
open_flow(struct capture *c, struct gw_sender *s, const Gw__ReadChunk *rc, struct gw_err *err)
{
    Gw__StreamOpen open = GW__STREAM_OPEN__INIT;
    open.next_endpoint = rc->apply_endpoint;
    open.table = rc->target;
    open.n_max_bytes = rc->n_max_bytes;
    open.max_bytes = rc->max_bytes;
    open.window_bytes = gw_worker_task(c->w)->window_bytes;
    return gw_capture_send_open(c, s, &open, err);
}

// Batches go out as they are read; the buffer's memory becomes the message's.
static int
send_rows(struct capture *c, struct gw_sender *s, Gw__Chunk *done, struct gw_err *err)
{
    const Gw__Task *task = gw_worker_task(c->w);
    struct gw_buf batch;
    gw_buf_init(&batch, GW_PAYLOAD_MAX);
    int r = GW_OK;
    while (r == GW_OK) {
        uint32_t rows = 0;
        (void)gw_buf_room(&batch, task->batch_bytes + task->batch_bytes / 4);
        r = c->ops->chunk_next(c->self, &batch, task->batch_bytes, task->load->commit_rate, &rows, err);
        if ((r != GW_OK && r != GW_END) || (rows == 0 && r == GW_END)) {
            break;
        }
        if (GW_FAULT("capture.chunk.read")) {
            r = gw_err_set(err, GW_RETRY, NULL, "fault point capture.chunk.read");
            break;
        }
        done->rows_read += rows;
        done->bytes += batch.len;
        zmq_msg_t msg;
        gw_msg_take(&msg, &batch);
        int sent = gw_capture_send(c, s, GW__DATA_KIND__DATA_ROWS, rows, &msg, NULL, NULL, err);
        if (sent == GW_OK && gw_worker_cancelled(c->w)) {
            sent = gw_err_set(err, GW_FENCED, NULL, "the job was taken back by the coordinator");
        }
        r = sent != GW_OK ? sent : r;
        gw_worker_progress(c->w, done->rows_read, done->bytes);
    }
    gw_buf_fini(&batch);
    return r;
}

int
gw_capture_read_chunk(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    const Gw__ReadChunk *rc = cmd->read_chunk;
    if (!c->token || (rc->snapshot[0] && strcmp(rc->snapshot, c->token) != 0)) {
        return gw_err_set(err, GW_AGAIN, GW_CODE_NO_SNAPSHOT, "this reader is not in the snapshot of the chunk");
    }
    void *link = gw_capture_link(c, rc->transform_endpoint, err);
    if (!link) {
        return err->cls;
    }
    struct gw_sender s;
    gw_sender_init(&s, link, gw_worker_task_tag(c->w), rc->stream, rc->epoch, gw_worker_task(c->w)->window_bytes);
    Gw__Chunk *done = gw_pb_new(&c->arena, Gw__Chunk, gw__chunk__init);
    int r = open_flow(c, &s, rc, err);
    if (r == GW_OK) {
        r = c->ops->chunk_begin(c->self, rc->source, rc->chunk, err);
        if (r == GW_AGAIN) { // this snapshot cannot see the table as it is stored now
            free(c->token);
            c->token = NULL;
        }
    }
    if (r == GW_OK) {
        r = send_rows(c, &s, done, err);
        if (r == GW_END) {
            if (GW_FAULT("capture.chunk.end")) {
                return gw_err_set(err, GW_RETRY, NULL, "fault point capture.chunk.end");
            }
            r = gw_capture_send_end(c, &s, done->rows_read, done->bytes, err);
        } else if (r == GW_FENCED) {
            // The chunk was given up from outside: the connection is sound, the snapshot worth keeping.
            struct gw_err ignored = {0};
            if (c->ops->chunk_cancel(c->self, &ignored) != GW_OK) {
                gw_capture_close_source(c);
            }
        }
    }
    if (r != GW_OK) {
        return gw_err_wrap(err, "read table \"%s.%s\" chunk %u", rc->source->source_schema, rc->source->source_name,
                           rc->chunk->no);
    }
    done->table_id = rc->chunk->table_id;
    done->no = rc->chunk->no;
    done->snapshot = c->token;
    reply->body_case = GW__REPLY__BODY_CHUNK;
    reply->chunk = done;
    return GW_OK;
}
