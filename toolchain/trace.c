/* Keeps the map that each block of a model built with EBNN_TRACE wrote, one behind the other. */
#include <stdint.h>
#include <string.h>

#ifndef EBNN_TRACE_CAPACITY
#define EBNN_TRACE_CAPACITY 65536
#endif

uint8_t ebnn_trace_buffer[EBNN_TRACE_CAPACITY];
uint32_t ebnn_trace_bytes; /* more than the capacity where maps were lost */

void ebnn_trace(int block, const void *map, uint32_t map_bytes);

void ebnn_trace(int block, const void *map, uint32_t map_bytes) {
    if (block == 0) {
        ebnn_trace_bytes = 0;
    }
    if (ebnn_trace_bytes + map_bytes <= EBNN_TRACE_CAPACITY) {
        memcpy(ebnn_trace_buffer + ebnn_trace_bytes, map, map_bytes);
    }
    ebnn_trace_bytes += map_bytes;
}
