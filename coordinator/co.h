// The coordinator: one thread, one socket, one state machine for the task and one for each table.
//
// It decides who does what and when; it never touches a database or a row. All of exactly-once rests on the
// target (target.h): what is here is a plan in memory that can be thrown away and rebuilt from there. The
// SQLite file keeps the task's uuid, the last status for `godwit tables`, and the history of transitions.
//
// fsm.c      the task's phases: a table of (phase, event, next phase), and those that go over all tables
// phases.c   the phases that are one job for one worker
// tables.c   the table's states, from the plan to its last constraint
// steps.c    what is made after the rows
// snapshots.c which snapshot the readers are in
// flight.c   a chunk on its way through three workers
// stream.c   the changes on their way, once the rows are there;  alter.c  definitions that change meanwhile
// doubt.c    whether the task is still ours
// workers.c  leases, jobs and their replies;  hello.c  who joins
// routes.c   who works with whom
// status.c   what people are told;  store.c  the SQLite file
#ifndef GW_CO_H
#define GW_CO_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/bus.h"
#include "common/curve.h"
#include "common/err.h"
#include "common/worker.h"

enum {
    LISTENS_MAX = 4,
    WORKERS_MAX = 512,
    JOBS_MAX = 2 * WORKERS_MAX,
    FLIGHTS_MAX = WORKERS_MAX,
    BROKEN_MAX = 256,
    AGAIN_MAX = 256,
    AGAINS_MAX = 3
};

struct co;
struct table;
struct flight;

// ---- workers and jobs ------------------------------------------------------------------------------
struct worker {
    bool alive;
    Gw__Stage stage;
    char name[64], uuid[40], host[128], endpoint[GW_ENDPOINT_MAX];
    uint32_t pid, restarts;
    uint8_t identity[GW_IDENTITY_MAX];
    size_t identity_len;
    int64_t heard_us, lost_us;
    bool trusted;         // nobody can listen to what is sent to it
    uint64_t job;         // in hand, 0 = idle
    uint64_t foreign_job; // still in hand: from an earlier coordinator, or from before it was taken for gone
    uint64_t called_back; // the last job that it was to give up
    bool reserved;        // a capture that waits for its apply to be ready
    uint64_t rows, bytes; // of that job, from the heartbeat
    char task_uuid[40];   // the task whose data it receives, from the heartbeat
    int64_t moved_us;     // when rows or bytes last changed
    int64_t sent_us;      // when the job was given
    bool waiting;
    char *token, *handle;  // capture: the open snapshot
    bool opening;          // its job is to open a new snapshot that others may join
    bool free_of_snapshot; // has said so; otherwise it may hold one of an earlier coordinator
    uint32_t failures;     // to open one, in a row
    int64_t retry_us;
    char doing[160];
};

// Called once for every job: reply->failure NULL means done; a lost worker is a failure with GW_CODE_LOST.
typedef void job_done(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *failure);
struct job {
    uint64_t id;
    struct worker *worker;
    job_done *done;
    void *ctx;
};

// ---- tables ----------------------------------------------------------------------------------------
enum table_state {
    T_UNPLANNED, // needs chunks
    T_RESTART,   // needs new chunks, under a new generation
    T_REPLACE,   // has them; to be written to the target
    T_PLANNED,   // to be prepared
    T_LOADING,
    T_MARK_LOADED,
    T_SEQUENCES_READ,
    T_STEPS, // to ask the target for its finish steps
    T_KEYS,
    T_CONSTRAINTS,
    T_SEQUENCES,
    T_MARK_DONE,
    T_DONE,
    T_MARK_ERROR,
    T_ERROR,
    T_STATES,
};

enum chunk_state { CHUNK_OPEN, CHUNK_FLYING, CHUNK_DONE };
struct chunk_rt {
    enum chunk_state state;
    bool careful;
    uint32_t failures, kills;
    int64_t retry_us;
};
struct step_rt {
    bool busy, done;
    uint32_t failures;
    int64_t retry_us;
};
struct table {
    Gw__TablePlan *plan;
    Gw__Table *read; // the source table as it is read: the columns that travel
    uint64_t *max_bytes;
    size_t max_bytes_n;
    enum table_state state;
    bool busy; // a job for the table as a whole is under way
    uint32_t failures;
    int64_t retry_us;
    struct chunk_rt *chunks;
    uint32_t flying, done, open_from; // chunks before open_from are not open
    struct step_rt *steps_rt;
    Gw__Steps *steps;
    char *token; // of the snapshot that the chunks were planned in; NULL after a restart
    uint64_t rows, bytes, refused, truncated;
    int64_t started_us, ended_us; // wall clock
    char *reason;
};

// ---- a chunk on its way ----------------------------------------------------------------------------
struct flight {
    bool used;
    struct table *table;
    uint32_t chunk, generation;
    struct worker *apply, *capture, *transform;
    char apply_uuid[40], capture_uuid[40], transform_uuid[40];
    uint64_t apply_job, capture_job, stream, epoch;
    bool durable, failed, lost, capture_done;
    struct gw_err err;
    bool snapshot_stale;
};

// ---- the task --------------------------------------------------------------------------------------
enum phase {
    P_START,
    P_STATE,
    P_CLEAR,
    P_INSPECT,
    P_MAP,
    P_PREFLIGHT,
    P_OPEN_STREAM,
    P_PLAN,
    P_REGISTER,
    P_VERIFY,
    P_LOAD,
    P_MEET, // rows of several snapshots: the stream goes past them all before keys are made
    P_CONSTRAINTS,
    P_SEQUENCES,
    P_STREAM,
    P_ALTER, // definitions have changed on the source
    P_COMPLETE,
    P_CLOSE_STREAM,
    P_DROP,
    P_STOPPING,
    P_ENDED,
    PHASES,
};
enum event {
    EV_WORKERS,
    EV_NEW,
    EV_RESUME,
    EV_FINISHED_BEFORE,
    EV_FRESH,
    EV_CLEARED,
    EV_INSPECTED,
    EV_MAPPED,
    EV_SOUND,
    EV_STREAMS,
    EV_OPENED,
    EV_REOPEN,
    EV_CHECKED,
    EV_PLANNED,
    EV_REGISTERED,
    EV_VERIFIED,
    EV_OTHER_PLAN,
    EV_ROWS_MIXED,
    EV_MET,
    EV_KEYS_DONE,
    EV_CONSTRAINTS_DONE,
    EV_SEQUENCES_DONE,
    EV_LOADED,
    EV_CAUGHT_UP,
    EV_ALTERED,
    EV_RELOAD,
    EV_ALTERS_DONE,
    EV_COMPLETED,
    EV_DROP,
    EV_DROPPED,
    EV_STOP,
    EV_QUIET,
    EVENTS,
};
enum mode { MODE_RUN, MODE_CHECK, MODE_DROP };
enum until { UNTIL_STOPPED, UNTIL_LOAD, UNTIL_CAUGHT_UP };

// Where a run of the stream ends: when told to, behind what was committed when it began, before the change of a definition.
enum run_until { RUN_ON, RUN_TO_NOW, RUN_TO_CHANGE };

// The changes on their way, through one worker of each stage.
struct stream {
    struct worker *apply, *capture, *transform;
    char capture_uuid[40], transform_uuid[40];
    uint64_t apply_job, capture_job, id, epoch;
    enum run_until until;
    bool failed, lost, ended; // ended: both ends say so, at a transaction's boundary
    struct gw_err err;
    uint32_t failures;
    int64_t retry_us;
    char *position;  // durable
    char *confirmed; // the last position that capture was told
    // What is known of it, for people.
    struct gw_arena arena;    // of the counts
    Gw__StreamCounts *counts; // durable
    int64_t captured_us, oldest_us;
    uint64_t captured, captured_before; // by this job; what was durable when it began
    uint64_t log_kept_bytes;
    bool caught_up;
};

// Definitions that change under the stream: alter.c.
enum alter_step { ALTER_BEGIN, ALTER_MAP, ALTER_TARGET, ALTER_DEFINE };
struct alter {
    struct gw_arena arena;
    Gw__StreamDone *orders; // the position before the change, and what changes there; NULL = nothing
    size_t at;              // the order in hand
    enum alter_step step;
    Gw__Table *target;        // as mapped; NULL = the table goes
    Gw__TablePlan *plan;      // that will be in force
    bool reload;              // these tables are to be loaded anew
    uint32_t orders_n, stuck; // how often there were any; in a row at the same place
    char position[256];
    bool busy;
    uint32_t failures;
    int64_t retry_us;
};

struct co {
    enum mode mode;
    bool fresh, hold;
    bool reload; // suspended tables are to be loaded anew
    uint32_t again[AGAIN_MAX],
        again_n;     // tables that are, too: what the stream did not know came of the load's snapshots
    uint32_t agains; // how often that was tried
    const char *state_dir;
    const char *listen; // the first endpoint: it names this run when the process is started again
    const char *also[LISTENS_MAX];
    size_t also_n;
    bool remote;                                   // workers may be on other hosts
    struct gw_zap *zap;                            // NULL: there are no keys
    const char *source_password, *target_password; // found here, for workers that find none; NULL = none. Never stored
    struct gw_arena arena;                         // of the plan; grows with restarts of tables
    Gw__Task *task;
    char uuid[40], incarnation[40];
    void *zctx, *router;
    sqlite3 *db;

    enum phase phase;
    bool phase_busy; // its one job is under way
    uint64_t moves;  // of any state machine: there may be more to do at once
    bool resuming, patient, registered;
    uint32_t phase_failures;
    int64_t phase_retry_us;
    int64_t locked_us;    // since when somebody else holds what the phase's job needs; 0 = nobody
    uint32_t recoverable; // failures in a row without a durable chunk in between
    uint32_t exit_code;
    struct gw_err failure;
    bool already_complete, leave;
    int64_t stop_until_us;
    struct {
        bool raised, busy;
        uint32_t failures;
        int64_t retry_us, quiet_until_us;
    } doubt; // doubt.c

    struct {
        char a[40], b[40]; // uuids
        int64_t until_us;
    } broken[BROKEN_MAX];
    size_t broken_next;

    struct gw_peer asker; // who asked for the status last; it is told of the end unasked

    struct worker workers[WORKERS_MAX];
    size_t workers_n;
    struct job jobs[JOBS_MAX];
    size_t jobs_n;
    uint64_t next_job, next_stream;
    int64_t checked_us; // when leases were last looked at

    Gw__Catalog *source_cat, *target_cat;
    char *source_identity;
    struct table *tables;
    struct table **in_order; // the same, the highest load-order first
    size_t tables_n;
    bool preparing; // DDL of tables, one at a time
    struct flight flights[FLIGHTS_MAX];
    size_t flights_n; // in use
    char *token;      // the snapshot that new readers join
    bool shared;

    bool streams; // changes are to be carried
    enum until until;
    Gw__Progress *progress; // of the stream, as durable on the target; NULL before it was opened
    char *stream_handle;    // of the snapshot that the stream begins behind, until a reader has joined it
    bool met;               // keys and constraints may be made
    bool resync;            // the stream has caught up: sequences once more, then the end
    struct stream stream;
    struct alter alter;

    Gw__Catalog *findings;
    int64_t started_us, ended_us; // wall clock
    int64_t load_from_us, load_to_us;
    int64_t stored_us; // when the status was last written
    char waiting_for[256];
};

// fsm.c
void co_event(struct co *co, enum event ev);
void co_tick(struct co *co);
void co_fail(struct co *co, uint32_t exit_code, const struct gw_err *err);
const char *co_phase_name(enum phase p);
bool co_running(const struct co *co); // new work may be given out
void co_print_fsm(void);              // the table, as a graph for dot(1)

// phases.c
void co_phase_job_tick(struct co *co);
bool co_rows_missing(const struct co *co); // rows were refused, and the user did not say that this is no error
// hello.c
void co_take_hello(struct co *co, const struct gw_peer *peer, const char *address, const Gw__Hello *h);
void co_send_welcome(struct co *co, const struct worker *w);

// routes.c: which workers work with each other, and which do not reach each other
// How little the link between two is liked: doubtful ones least, then those between hosts, which cost the network twice.
size_t co_route_dislike(const struct co *co, const struct worker *from, const struct worker *to);
// The transform that the apply is best reached from; of these the one with the fewest streams: it can carry many. NULL = none.
struct worker *co_pick_transform(struct co *co, const struct worker *apply);
// Idle workers that reach each other as well as any; false if a stage has none.
bool co_pick_for_stream(struct co *co, struct worker **apply, struct worker **transform, struct worker **capture);
void co_route_failed(struct co *co, const struct worker *a, const struct worker *b);
bool co_route_doubtful(const struct co *co, const struct worker *a, const struct worker *b);

// alter.c
void co_alter_take(struct co *co, const Gw__StreamDone *done); // what a capture's run ended for
// Suspended tables, as the source has them now, are to be loaded anew; false if there are none.
bool co_alter_reload(struct co *co, const Gw__Catalog *now);
bool co_alter_waits(const struct co *co);
bool co_alter_drain(struct co *co);
void co_alter_tick(struct co *co);

// workers.c
void co_send_to(struct co *co, const uint8_t *identity, size_t len, const Gw__Control *m);
void co_worker_lost(struct co *co, struct worker *w, const char *why);
bool co_is_idle(const struct worker *w);
struct worker *co_idle(struct co *co, Gw__Stage stage);
size_t co_alive(const struct co *co, Gw__Stage stage);
// Sends a command to an idle worker; cmd->job is filled in. Returns the job's number.
uint64_t co_send(struct co *co, struct worker *w, Gw__Command *cmd, job_done *done, void *ctx, const char *doing, ...)
    __attribute__((format(printf, 6, 7)));
void co_cancel(struct co *co, struct worker *w, uint64_t job, uint64_t stream, uint64_t epoch);
void co_tell(struct co *co, struct worker *w, const Gw__Control *m);
void co_receive(struct co *co);
void co_tell_asker(struct co *co);
void co_check_leases(struct co *co);
void co_welcome_all(struct co *co);
void co_stop_workers(struct co *co);
void co_forget_snapshot(struct worker *w);
// A transient failure, the `failures`th in a row of the same thing: counts it and says when to try again (monotonic).
// False if the task has just been given up for it.
bool co_recoverable(struct co *co, const struct gw_err *err, uint32_t failures, int64_t *ret_us);
// Something became durable: both ends are there, and nobody who waits need wait on.
void co_recovered(struct co *co);

// tables.c
void co_tables_from_catalogs(struct co *co);
void co_tables_from_state(struct co *co, const Gw__TargetState *state);
void co_tables_tick(struct co *co);
void co_resync_sequences(struct co *co);
bool co_tables_past(const struct co *co, enum table_state s); // every table is past s, or in error
void co_table_set(struct co *co, struct table *t, enum table_state s);
void co_table_error(struct co *co, struct table *t, const struct gw_err *err);
void co_table_set_chunks(struct co *co, struct table *t, Gw__TablePlan *planned);
const char *co_table_state_name(enum table_state s);
// What every failure of a table's own job comes to. True if there was one.
bool co_table_failed(struct co *co, struct table *t, struct gw_err *e);
Gw__TargetState *co_register_state(struct co *co, struct gw_arena *a);
static inline const char *
co_schema(const struct table *t)
{
    return t->plan->source->source_schema;
}
static inline const char *
co_name(const struct table *t)
{
    return t->plan->source->source_name;
}

// snapshots.c
void co_snapshots_tick(struct co *co);

// steps.c
bool co_send_list_steps(struct co *co, struct table *t);
// Starts what can be started on idle workers; true when nothing of the phase is left for the table.
bool co_run_steps(struct co *co, struct table *t, struct worker **idle, int64_t now);
void co_steps_finished(struct co *co, struct table *t);
bool co_key_steps_done(const struct table *t); // its primary key is there

// flight.c
void co_flights_tick(struct co *co);
void co_flight_ready(struct co *co, uint64_t job, uint64_t epoch);
void co_flight_stream_failed(struct co *co, struct worker *w, const Gw__StreamFailed *f);
void co_flight_transform_lost(struct co *co, const struct worker *w);
void co_flights_cancel(struct co *co, const struct table *t); // t NULL: all

// stream.c
bool co_stream_tick(struct co *co, enum run_until until); // true: it has ended where it should
void co_stream_ready(struct co *co, uint64_t job, uint64_t epoch, const Gw__Progress *progress);
void co_stream_progress(struct co *co, struct worker *w, const Gw__StreamProgress *p);
void co_stream_failed(struct co *co, struct worker *w, const Gw__StreamFailed *f);
void co_stream_transform_lost(struct co *co, const struct worker *w);
void co_stream_end(struct co *co);    // at the next boundary
void co_stream_cancel(struct co *co); // at once
// Whether a suspended table is to be loaded anew without being asked; it is remembered then.
bool co_take_again(struct co *co, const struct table *t);
bool co_stream_is_mixed(const struct co *co, const struct table *t);
bool co_stream_mixed(const struct co *co); // chunks were read in other snapshots than the stream's first
Gw__StreamStatus *co_stream_status(const struct co *co, struct gw_arena *a); // NULL: there is no stream
// doubt.c
// A reply was fenced: new work waits until the target has said whose task it is.
void co_doubt(struct co *co, const struct gw_err *why);
bool co_in_doubt(const struct co *co);
void co_doubt_tick(struct co *co);
// Whether the table's chunks on the target are ours. A plan of ours that is not there yet has a newer generation.
bool co_plan_is_ours(const struct table *t, const Gw__TargetState *s);
// Whether what the target holds is another's by now; *err, empty before, says whose.
bool co_superseded(const struct co *co, const Gw__TargetState *s, struct gw_err *err);

// status.c
Gw__Status *co_status(struct co *co, struct gw_arena *a);
void co_add_findings(struct co *co, const Gw__Catalog *cat);

// store.c
int co_store_open(struct co *co, struct gw_err *err);
void co_store_close(struct co *co);
char *co_store_get(struct co *co, struct gw_arena *a, const char *key); // NULL if there is none
void co_store_put(struct co *co, const char *key, const char *value);
void co_store_transition(struct co *co, const char *what, const char *from, const char *why, const char *to);
void co_store_status(struct co *co);

#endif
