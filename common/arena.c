#include "common/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

enum { BLOCK = 64 * 1024 };

struct gw_arena_block {
    struct gw_arena_block *next;
    size_t size;
    _Alignas(16) char data[];
};

static void *
pb_alloc(void *arena, size_t size)
{
    return gw_arena_alloc(arena, size);
}

static void
pb_free(void *arena, void *p)
{
    (void)arena;
    (void)p; // freed with the arena
}

void
gw_arena_init(struct gw_arena *a)
{
    *a = (struct gw_arena){.allocator = {.alloc = pb_alloc, .free = pb_free, .allocator_data = a}};
}

static void
add_block(struct gw_arena *a, size_t size)
{
    struct gw_arena_block *b = malloc(sizeof *b + size);
    if (!b) {
        fprintf(stderr, "out of memory: %zu bytes\n", size);
        abort();
    }
    b->next = a->blocks;
    b->size = size;
    a->blocks = b;
    a->at = b->data;
    a->end = b->data + size;
}

void *
gw_arena_alloc(struct gw_arena *a, size_t size)
{
    gw_assert(size < SIZE_MAX - 64);
    size = size ? (size + 15) & ~(size_t)15 : 16; // never NULL, also where nothing is asked for
    if (size > (size_t)(a->end - a->at)) {
        add_block(a, size > BLOCK ? size : BLOCK);
    }
    void *p = a->at;
    a->at += size;
    return p;
}

void *
gw_arena_calloc(struct gw_arena *a, size_t n, size_t size)
{
    gw_assert(size == 0 || n < SIZE_MAX / 2 / size);
    return memset(gw_arena_alloc(a, n * size), 0, n * size);
}

char *
gw_arena_memdup0(struct gw_arena *a, const void *p, size_t n)
{
    char *d = gw_arena_alloc(a, n + 1);
    memcpy(d, p, n);
    d[n] = 0;
    return d;
}

char *
gw_arena_strdup(struct gw_arena *a, const char *s)
{
    return s ? gw_arena_memdup0(a, s, strlen(s)) : NULL;
}

char *
gw_arena_vprintf(struct gw_arena *a, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    gw_assert(n >= 0);
    char *s = gw_arena_alloc(a, (size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    return s;
}

char *
gw_arena_printf(struct gw_arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = gw_arena_vprintf(a, fmt, ap);
    va_end(ap);
    return s;
}

void
gw_arena_reset(struct gw_arena *a)
{
    struct gw_arena_block *keep = NULL;
    for (struct gw_arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        if (!keep && b->size == BLOCK) {
            keep = b;
        } else {
            free(b);
        }
    }
    a->blocks = keep;
    a->at = keep ? keep->data : NULL;
    a->end = keep ? keep->data + keep->size : NULL;
    if (keep) {
        keep->next = NULL;
    }
}

void
gw_arena_fini(struct gw_arena *a)
{
    for (struct gw_arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->blocks = NULL;
    a->at = a->end = NULL;
}

ProtobufCAllocator *
gw_arena_pb(struct gw_arena *a)
{
    return &a->allocator;
}

void *
gw_arena_push(struct gw_arena *a, void *vec, size_t *n, size_t size)
{
    char **items = vec;
    // The capacity is the power of two at or above *n, so it needs no field of its own.
    if ((*n & (*n - 1)) == 0 || *n == 0) {
        size_t cap = *n ? *n * 2 : 4;
        if (*n == 0 || *n >= 4) {
            char *grown = gw_arena_calloc(a, cap, size);
            if (*n) {
                memcpy(grown, *items, *n * size);
            }
            *items = grown;
        }
    }
    return *items + (*n)++ * size;
}

void *
gw_pb_dup(struct gw_arena *a, const void *msg)
{
    if (!msg) {
        return NULL;
    }
    const ProtobufCMessage *m = msg;
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = malloc(size ? size : 1);
    gw_assert(bytes);
    protobuf_c_message_pack(m, bytes);
    void *copy = protobuf_c_message_unpack(m->descriptor, gw_arena_pb(a), size, bytes);
    free(bytes);
    gw_assert(copy);
    return copy;
}
