// CRC-32C (Castagnoli), with the processor's own instruction where there is one.
#ifndef GW_CRC32C_H
#define GW_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t gw_crc32c(const void *data, size_t len);
// The table version, for machines without the instruction and for the test that compares both.
uint32_t gw_crc32c_portable(const void *data, size_t len);

#endif
