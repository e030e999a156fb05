// Memory that is freed all at once.
//
// Allocation never fails (a process that cannot get memory ends: its work is redone elsewhere).
// Everything from an arena lives until its next reset or its fini. One thread per arena.
#ifndef GW_ARENA_H
#define GW_ARENA_H

#include <stdarg.h>
#include <stddef.h>
#include <protobuf-c/protobuf-c.h>

struct gw_arena_block;
struct gw_arena {
    struct gw_arena_block *blocks; // newest first
    char *at, *end;
    ProtobufCAllocator allocator;
};

void gw_arena_init(struct gw_arena *a);
void gw_arena_reset(struct gw_arena *a); // keeps one ordinary block
void gw_arena_fini(struct gw_arena *a);

void *gw_arena_alloc(struct gw_arena *a, size_t size);               // 16-byte aligned, not cleared
void *gw_arena_calloc(struct gw_arena *a, size_t n, size_t size);    // cleared
char *gw_arena_strdup(struct gw_arena *a, const char *s);            // NULL stays NULL
char *gw_arena_memdup0(struct gw_arena *a, const void *p, size_t n); // with a NUL behind
char *gw_arena_printf(struct gw_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *gw_arena_vprintf(struct gw_arena *a, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

// For protobuf-c's unpack: decoded messages live in the arena; never call free_unpacked on them.
ProtobufCAllocator *gw_arena_pb(struct gw_arena *a);

// Appends to a protobuf repeated field (array of pointers, or of scalars of `size`), doubling the array
// inside the arena. `*vec` and `*n` are the generated struct's members. Returns where the new item is.
// The array must have been empty before the first push: one that was unpacked or duplicated has no room behind its end.
void *gw_arena_push(struct gw_arena *a, void *vec, size_t *n, size_t size);

// new message of a generated type, initialised:  Gw__Table *t = gw_pb_new(a, Gw__Table, gw__table__init);
#define gw_pb_new(a, type, init_fn)                                                                                    \
    __extension__({                                                                                                    \
        type *m_ = gw_arena_alloc((a), sizeof(type));                                                                  \
        init_fn(m_);                                                                                                   \
        m_;                                                                                                            \
    })
// append pointer or scalar `item` to repeated field: gw_pb_add(a, table, columns, col)
#define gw_pb_add(a, msg, field, item)                                                                                 \
    (*(__typeof__((msg)->field))gw_arena_push((a), &(msg)->field, &(msg)->n_##field, sizeof *(msg)->field) = (item))

// A deep copy of a packed-able message, in the arena. NULL stays NULL.
void *gw_pb_dup(struct gw_arena *a, const void *msg);

#endif
