#include "memory.h"

#include <stdint.h>

enum { ALIGNMENT = 64, PAGE = 65536 };

extern unsigned char __heap_base;  // the linker's name for the first free byte
static uintptr_t top;

EXPORT(take) void *take(size_t bytes) {
    uintptr_t first = top ? top : (uintptr_t)&__heap_base;
    first = (first + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
    top = first + bytes;
    size_t pages = (top + PAGE - 1) / PAGE, have = __builtin_wasm_memory_size(0);
    if (pages > have && __builtin_wasm_memory_grow(0, pages - have) == (size_t)-1) __builtin_trap();
    return __builtin_memset((void *)first, 0, bytes);
}

float *floats(size_t count) { return take(count * sizeof(float)); }

void release(void *mark) { top = (uintptr_t)mark; }
