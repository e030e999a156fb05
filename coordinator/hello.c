// Who joins: a worker says hello, and is welcomed with the task and all that it needs to know, or refused with the reason.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/co.h"

static const int64_t remember_us = 60 * GW_S; // how long the status shows a worker that is gone for good
enum { LEASE_MS = 15000 };

// ---- the answer --------------------------------------------------------------------------------

void
co_send_welcome(struct co *co, const struct worker *w)
{
    const struct gw_keys *keys = gw_identity();
    char *admitted[GW_ADMITTED_MAX];
    Gw__Secret source = GW__SECRET__INIT, target = GW__SECRET__INIT;
    Gw__Welcome welcome = GW__WELCOME__INIT;
    welcome.incarnation = co->incarnation;
    welcome.task_uuid = co->uuid;
    welcome.task = co->task;
    welcome.lease_ms = LEASE_MS;
    for (size_t i = 0; keys && i < keys->admitted_n; i++) {
        admitted[welcome.n_admitted++] = (char *)(uintptr_t)keys->admitted[i]; // packed only, never written
    }
    welcome.admitted = admitted;
    // Each stage gets what it needs, and over nothing that others can read.
    if (w->trusted && w->stage == GW__STAGE__STAGE_CAPTURE && co->source_password) {
        source.value = (char *)(uintptr_t)co->source_password;
        welcome.source_password = &source;
    } else if (w->trusted && w->stage == GW__STAGE__STAGE_APPLY && co->target_password) {
        target.value = (char *)(uintptr_t)co->target_password;
        welcome.target_password = &target;
    }
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_WELCOME;
    m.welcome = &welcome;
    co_send_to(co, w->identity, w->identity_len, &m);
}

static void
refuse(struct co *co, const struct gw_peer *peer, const Gw__Hello *h, const struct gw_err *why)
{
    gw_log_err(GW_LOG_WARN, why, "worker \"%.60s\" on %.60s is refused", h->name, h->host);
    Gw__Failure f;
    gw_failure_from_err(&f, why);
    Gw__Refused refused = GW__REFUSED__INIT;
    refused.failure = &f;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_REFUSED;
    m.refused = &refused;
    co_send_to(co, peer->id, peer->len, &m);
}

// ---- whether -----------------------------------------------------------------------------------

// Whether every other worker can reach it, and it them.
static int
check_reach(const struct co *co, const Gw__Hello *h, struct gw_err *err)
{
    struct gw_endpoint e;
    if (gw_identity() && !h->key[0]) {
        gw_err_set(err, GW_CONFIG, NULL, "this coordinator's workers have keys, and it has none");
        gw_err_hint(err, "start it with --key FILE");
        return GW_CONFIG;
    }
    if (!gw_identity() && h->key[0]) {
        gw_err_set(err, GW_CONFIG, NULL, "it has keys, and this coordinator and its workers have none");
        gw_err_hint(err, "start the coordinator with --key coordinator.key, too");
        return GW_CONFIG;
    }
    if (h->stage == GW__STAGE__STAGE_CAPTURE) {
        return GW_OK; // nobody connects to it
    }
    int r = gw_endpoint_parse(h->data_endpoint, &e, err);
    if (r == GW_OK && co->remote && !gw_endpoint_leaves_host(&e)) {
        gw_err_set(err, GW_CONFIG, NULL, "it receives rows at %.100s, which no other host can reach", e.address);
        gw_err_hint(err, "start it with --data-address ADDRESS, or reach the coordinator by an address of the network");
        r = GW_CONFIG;
    }
    return r;
}

static int
check_hello(const struct co *co, const Gw__Hello *h, struct gw_err *err)
{
    if (h->protocol != GW_BUS_VERSION) {
        gw_err_set(err, GW_CONFIG, NULL, "it speaks protocol %u, this coordinator speaks %d", h->protocol,
                   GW_BUS_VERSION);
        gw_err_hint(err, "install the same version of godwit on every host");
        return GW_CONFIG;
    }
    if (h->stage < GW__STAGE__STAGE_CAPTURE || h->stage > GW__STAGE__STAGE_APPLY || !h->name[0]) {
        return gw_err_set(err, GW_CONFIG, NULL, "it does not say what it is");
    }
    return check_reach(co, h, err);
}

// Whether nobody between here and there can listen. With keys, whatever leaves the host is encrypted.
static bool
is_trusted(const struct co *co, const char *address)
{
    return !co->remote || gw_identity() || strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

// ---- who ---------------------------------------------------------------------------------------

static struct worker *
place_for(struct co *co, const char *name)
{
    int64_t now = gw_now_us();
    struct worker *free_place = NULL;
    for (size_t i = 0; i < co->workers_n; i++) {
        struct worker *w = &co->workers[i];
        if (strcmp(w->name, name) == 0) {
            return w;
        }
        // Workers on other hosts come and go with names of their own: places are used again, the oldest first.
        bool over = !w->alive && (now - w->lost_us > remember_us || co->workers_n == WORKERS_MAX);
        if (over && (!free_place || w->lost_us < free_place->lost_us)) {
            free_place = w;
        }
    }
    if (free_place) {
        *free_place = (struct worker){0};
        return free_place;
    }
    return co->workers_n < WORKERS_MAX ? &co->workers[co->workers_n++] : NULL;
}

void
co_take_hello(struct co *co, const struct gw_peer *peer, const char *address, const Gw__Hello *h)
{
    struct gw_err err = {0};
    if (check_hello(co, h, &err) != GW_OK) {
        refuse(co, peer, h, &err);
        return;
    }
    struct worker *w = place_for(co, h->name);
    if (!w) {
        gw_warn("hello of \"%.60s\" is refused: there are %d workers already", h->name, WORKERS_MAX);
        return;
    }
    if (w->alive && strcmp(w->uuid, h->uuid) != 0) {
        co_worker_lost(co, w, "another process has taken its name");
    }
    bool again = w->alive;
    uint32_t restarts = w->restarts;
    uint64_t job = w->job;
    if (!again) {
        *w = (struct worker){.restarts = restarts};
        job = 0;
    }
    w->alive = true;
    w->job = job;
    w->foreign_job = again ? w->foreign_job : h->job;
    w->stage = h->stage;
    w->pid = h->pid;
    w->trusted = is_trusted(co, address);
    w->heard_us = gw_now_us();
    snprintf(w->name, sizeof w->name, "%s", h->name);
    snprintf(w->uuid, sizeof w->uuid, "%s", h->uuid);
    snprintf(w->host, sizeof w->host, "%s", h->host);
    snprintf(w->endpoint, sizeof w->endpoint, "%s", h->data_endpoint);
    memcpy(w->identity, peer->id, peer->len);
    w->identity_len = peer->len;
    if (!again) {
        gw_info("worker=%s host=%s pid=%u is here", w->name, w->host, w->pid);
    }
    co_send_welcome(co, w);
}
