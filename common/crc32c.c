#include "common/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void
make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) {
            c = c & 1 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
        }
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++) {
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xff];
        }
    }
}

uint32_t
gw_crc32c_portable(const void *data, size_t len)
{
    pthread_once(&table_once, make_table);
    const unsigned char *p = data;
    uint32_t c = ~0u;
    for (; len >= 8; len -= 8, p += 8) {
        uint32_t lo = c ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        c = table[7][lo & 0xff] ^ table[6][lo >> 8 & 0xff] ^ table[5][lo >> 16 & 0xff] ^ table[4][lo >> 24] ^
            table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    }
    while (len--) {
        c = (c >> 8) ^ table[0][(c ^ *p++) & 0xff];
    }
    return ~c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc_hardware(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t c = 0xffffffffu;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
    }
    uint32_t r = (uint32_t)c;
    while (len--) {
        r = _mm_crc32_u8(r, *p++);
    }
    return ~r;
}
#elif defined(__ARM_FEATURE_CRC32)
static uint32_t
crc_hardware(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint32_t c = ~0u;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = __crc32cd(c, word);
    }
    while (len--) {
        c = __crc32cb(c, *p++);
    }
    return ~c;
}
#endif

uint32_t
gw_crc32c(const void *data, size_t len)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("sse4.2") ? crc_hardware(data, len) : gw_crc32c_portable(data, len);
#elif defined(__ARM_FEATURE_CRC32)
    return crc_hardware(data, len);
#else
    return gw_crc32c_portable(data, len);
#endif
}
