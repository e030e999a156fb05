// Which workers work with each other, and which do not reach each other.
//
// The coordinator hears both ends of a link that is cut between them: only what stands still tells. A stream that stood
// still puts its two links in doubt for a while, and others are preferred meanwhile; where there are no others, the
// doubtful ones are tried again. A guess that costs nothing when it is wrong.
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "coordinator/co.h"

static const int64_t broken_us = 60 * GW_S;

static size_t
find(const struct co *co, const struct worker *a, const struct worker *b)
{
    for (size_t i = 0; i < BROKEN_MAX; i++) {
        if (strcmp(co->broken[i].a, a->uuid) == 0 && strcmp(co->broken[i].b, b->uuid) == 0) {
            return i;
        }
    }
    return BROKEN_MAX;
}

void
co_route_failed(struct co *co, const struct worker *a, const struct worker *b)
{
    size_t at = find(co, a, b);
    if (at == BROKEN_MAX) {
        at = co->broken_next;
        co->broken_next = (at + 1) % BROKEN_MAX;
    }
    snprintf(co->broken[at].a, sizeof co->broken[at].a, "%s", a->uuid);
    snprintf(co->broken[at].b, sizeof co->broken[at].b, "%s", b->uuid);
    co->broken[at].until_us = gw_now_us() + broken_us;
}

bool
co_route_doubtful(const struct co *co, const struct worker *a, const struct worker *b)
{
    size_t at = find(co, a, b);
    return at < BROKEN_MAX && co->broken[at].until_us > gw_now_us();
}

// ---- who with whom -----------------------------------------------------------------------------

size_t
co_route_dislike(const struct co *co, const struct worker *from, const struct worker *to)
{
    return (co_route_doubtful(co, from, to) ? 2U : 0U) + (strcmp(from->host, to->host) != 0 ? 1U : 0U);
}

struct worker *
co_pick_transform(struct co *co, const struct worker *apply)
{
    struct worker *best = NULL;
    size_t least = 0;
    for (size_t i = 0; i < co->workers_n; i++) {
        struct worker *w = &co->workers[i];
        // It gets no command, so only its own word tells that it has taken in whose data it is to carry.
        if (!w->alive || w->stage != GW__STAGE__STAGE_TRANSFORM || strcmp(w->task_uuid, co->uuid) != 0) {
            continue;
        }
        size_t n = co_route_dislike(co, w, apply) * (FLIGHTS_MAX + 1);
        for (size_t k = 0; k < FLIGHTS_MAX; k++) {
            n += co->flights[k].used && co->flights[k].transform == w;
        }
        if (!best || n < least) {
            best = w;
            least = n;
        }
    }
    return best;
}

bool
co_pick_for_stream(struct co *co, struct worker **apply, struct worker **transform, struct worker **capture)
{
    *apply = *transform = *capture = NULL;
    for (size_t i = 0; i < co->workers_n; i++) {
        struct worker *a = &co->workers[i];
        struct worker *t = co_is_idle(a) && a->stage == GW__STAGE__STAGE_APPLY ? co_pick_transform(co, a) : NULL;
        if (t && (!*apply || co_route_dislike(co, t, a) < co_route_dislike(co, *transform, *apply))) {
            *apply = a;
            *transform = t;
        }
    }
    for (size_t i = 0; *transform && i < co->workers_n; i++) {
        struct worker *c = &co->workers[i];
        if (co_is_idle(c) && c->free_of_snapshot && c->stage == GW__STAGE__STAGE_CAPTURE &&
            (!*capture || co_route_dislike(co, c, *transform) < co_route_dislike(co, *capture, *transform))) {
            *capture = c;
        }
    }
    return *capture != NULL;
}
