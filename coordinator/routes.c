// Which workers do not reach each other.
//
// The coordinator hears both ends of a link that is cut between them: only what stands still tells. A stream that stood
// still puts its two links in doubt for a while, and others are preferred meanwhile; where there are no others, the
// doubtful ones are tried again. A guess that costs nothing when it is wrong.
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "coordinator/co.h"

static const int64_t doubt_us = 60 * GW_S;

static size_t
find(const struct co *co, const struct worker *a, const struct worker *b)
{
    for (size_t i = 0; i < DOUBTS_MAX; i++) {
        if (strcmp(co->doubts[i].a, a->uuid) == 0 && strcmp(co->doubts[i].b, b->uuid) == 0) {
            return i;
        }
    }
    return DOUBTS_MAX;
}

void
co_route_failed(struct co *co, const struct worker *a, const struct worker *b)
{
    size_t at = find(co, a, b);
    if (at == DOUBTS_MAX) {
        at = co->doubts_next;
        co->doubts_next = (at + 1) % DOUBTS_MAX;
    }
    snprintf(co->doubts[at].a, sizeof co->doubts[at].a, "%s", a->uuid);
    snprintf(co->doubts[at].b, sizeof co->doubts[at].b, "%s", b->uuid);
    co->doubts[at].until_us = gw_now_us() + doubt_us;
}

bool
co_route_doubtful(const struct co *co, const struct worker *a, const struct worker *b)
{
    size_t at = find(co, a, b);
    return at < DOUBTS_MAX && co->doubts[at].until_us > gw_now_us();
}
