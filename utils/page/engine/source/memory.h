// One stretch of memory, taken from the front and given back all at once: a run leaves nothing behind.
#pragma once
#include <stddef.h>

#define EXPORT(name) __attribute__((export_name(#name)))

void *take(size_t bytes);     // zeros; traps where the machine has no more memory
float *floats(size_t count);  // the same, as numbers
void release(void *mark);     // gives back everything from `mark` on
