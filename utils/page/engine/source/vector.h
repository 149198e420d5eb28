// Four numbers at a time: one `f4` is one register of 128 bits, and each operator on it one instruction.
// No fused multiply-add and no reordering of sums: every machine gives the same bits.
#pragma once
#include <stdint.h>

typedef float f4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t i4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint32_t u4 __attribute__((vector_size(16), aligned(4), may_alias));

static inline f4 load(const float *p) { return *(const f4 *)p; }
static inline void store(float *p, f4 v) { *(f4 *)p = v; }
static inline f4 all(float x) { return (f4){x, x, x, x}; }
static inline float sum(f4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }
static inline f4 where(i4 mask, f4 yes, f4 no) { return (f4)((mask & (i4)yes) | (~mask & (i4)no)); }
static inline f4 larger(f4 a, f4 b) { return where(a > b, a, b); }

// sum of a[i] * b[i]; n is a multiple of 4, here and below
static inline float dot(int n, const float *a, const float *b) {
    f4 s = load(a) * load(b);
    for (int i = 4; i < n; i += 4) s += load(a + i) * load(b + i);
    return sum(s);
}

// y += factor * x
static inline void add_scaled(int n, float factor, const float *x, float *y) {
    for (int i = 0; i < n; i += 4) store(y + i, load(y + i) + factor * load(x + i));
}

// y += x
static inline void add(int n, const float *x, float *y) {
    for (int i = 0; i < n; i += 4) store(y + i, load(y + i) + load(x + i));
}

// e^x, relative error below 3e-7. With x = k ln 2 + r, k whole and |r| <= ln 2 / 2, it is 2^k e^r, and e^r is its Taylor
// series. Below -87 it stays at e^-87 (no denormals), above 88 at e^88 (no infinity). Not a number stays not a number.
static inline f4 exp4(f4 x) {
    x = where(x < all(-87.f), all(-87.f), x);
    x = where(x > all(88.f), all(88.f), x);
    const float round = 12582912.f;  // 1.5 * 2^23: so large that adding it leaves no room for a fraction
    f4 shifted = x * 1.44269504f + round;
    f4 k = shifted - round;
    f4 r = x - k * 0.693359375f + k * 2.12194440e-4f;  // ln 2 in two parts; k times the first one is exact
    f4 e = all(1.f / 5040);
    e = e * r + 1.f / 720;
    e = e * r + 1.f / 120;
    e = e * r + 1.f / 24;
    e = e * r + 1.f / 6;
    e = e * r + 0.5f;
    e = e * r + 1.f;
    e = e * r + 1.f;
    i4 power = (i4)shifted - (i4)all(round) + 127;  // k as an integer, with the bias of the exponent
    return e * (f4)(power << 23);
}

// ln x of a positive number, error below 1e-9: x = 2^k m with m near 1, and ln m = 2 artanh((m - 1) / (m + 1)).
static inline double ln(float x) {
    union { float f; int32_t i; } bits = {x};
    if (!(x < 3.4e38f)) return x;  // infinite, or not a number
    int k = ((bits.i >> 23) & 255) - 127;
    bits.i = (bits.i & 0x7fffff) | 0x3f800000;  // m in [1, 2)
    double m = bits.f;
    if (m > 1.41421356) m *= 0.5, k++;
    double z = (m - 1) / (m + 1), q = z * z;
    double series = 1 + q * (1. / 3 + q * (1. / 5 + q * (1. / 7 + q * (1. / 9 + q * (1. / 11)))));
    return k * 0.6931471805599453 + 2 * z * series;
}
