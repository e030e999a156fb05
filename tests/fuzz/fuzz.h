// What every fuzz target starts with. A target cuts its input into parts where it needs more than one.
#ifndef GW_FUZZ_H
#define GW_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/arena.h"
#include "common/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at;
    size_t left;
};

// The next byte; 0 at the end.
static inline uint8_t
input_byte(struct input *in)
{
    if (!in->left) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

// The next text, up to and without a NUL byte (or to the end), in the arena.
static inline char *
input_text(struct input *in, struct gw_arena *a)
{
    const uint8_t *nul = in->left ? memchr(in->at, 0, in->left) : NULL;
    size_t n = nul ? (size_t)(nul - in->at) : in->left;
    char *s = gw_arena_memdup0(a, in->left ? in->at : (const uint8_t *)"", n);
    in->at += n + (nul != NULL);
    in->left -= n + (nul != NULL);
    return s;
}

#endif
