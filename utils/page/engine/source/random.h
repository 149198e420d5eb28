// Dropout from a counter: whether a number is kept follows from where it stands, (seed, step, row, place, index), and from
// nothing that was drawn before it. So it does not matter in what order, or by how many workers, the rows are computed.
#pragma once
#include <stdint.h>

#include "vector.h"

typedef struct { uint32_t seed, step; int on; } Dropout;  // on: training, not measuring

// Two rounds of multiply and shift, after which each bit depends on each bit (constants: C. Wellons, hash-prospector).
static inline u4 mix4(u4 x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x;
}

static inline uint32_t mix(uint32_t x) { return mix4((u4){x, x, x, x})[0]; }

static inline uint32_t key_of(Dropout d, int row, int place) {
    return mix(mix(mix(mix(d.seed) + d.step) + row) + place);
}

// y = x with a share p set to zero and the rest divided by 1 - p. x and y may be the same.
static inline void drop(int n, float p, uint32_t key, const float *x, float *y) {
    const u4 threshold = (u4){1, 1, 1, 1} * (uint32_t)(p * 16777216.f);
    const float rest = 1 / (1 - p);
    u4 index = {0, 1, 2, 3};
    for (int i = 0; i < n; i += 4, index += 4) {
        u4 drawn = mix4(key ^ index * 0x9e3779b9u) >> 8;  // 24 bits
        i4 kept = (i4)(drawn >= threshold);
        store(y + i, (f4)(kept & (i4)(rest * load(x + i))));
    }
}
