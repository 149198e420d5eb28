#include "matmul.h"

#include "memory.h"
#include "vector.h"

static float *tiles;  // BLOCK rows of a, as [BLOCK / TILE][K][TILE]

void multiply_prepare(int longest) { tiles = floats((size_t)BLOCK * longest); }

void pack(int K, int N, View b, float scale, float *panels) {
    for (int n = 0; n < N; n += PANEL)
        for (int k = 0; k < K; k++)
            for (int j = 0; j < PANEL; j++) *panels++ = scale * b.at[k * b.row + (n + j) * b.column];
}

// `rows` rows of c, 8 columns wide: 8 sums in 8 registers, so that each number loaded is used 4 or 8 times. More rows
// would be fewer loads, but engines move the loads of an iteration to its front, and 14 registers are what x86 has to give.
static inline __attribute__((always_inline)) void tile(
    const int rows, int K, const float *a, int row, int column, const float *panel, const float *start, int start_row,
    float *c, int N
) {
    f4 left[TILE], right[TILE];
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
        left[i] = start ? load(start + i * start_row) : all(0);
        right[i] = start ? load(start + i * start_row + 4) : all(0);
    }
    for (const float *end = panel + PANEL * K; panel != end; panel += PANEL, a += column) {
        f4 b0 = load(panel), b1 = load(panel + 4);
#pragma clang loop unroll(full)
        for (int i = 0; i < rows; i++) {
            f4 x = all(a[i * row]);
            left[i] += x * b0;
            right[i] += x * b1;
        }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
        store(c + i * N, left[i]);
        store(c + i * N + 4, right[i]);
    }
}

void multiply(int M, int N, int K, View a, const float *panels, const float *start, float *c) {
    int start_row = start == c ? N : 0;
    int whole = M - M % TILE;
    int repack = N > 4 * PANEL;  // side by side, a tile of a is read with one pointer; worth it if it is read often
    for (int first = 0; first < whole; first += BLOCK) {
        int end = first + BLOCK < whole ? first + BLOCK : whole;
        float *t = tiles;
        for (int i = first; repack && i < end; i += TILE)
            for (int k = 0; k < K; k++)
                for (int r = 0; r < TILE; r++) *t++ = a.at[(i + r) * a.row + k * a.column];
        for (int n = 0; n < N; n += PANEL)
            for (int i = first; i < end; i += TILE) {
                const float *from = start ? start + i * start_row + n : 0, *panel = panels + n * K;
                float *to = c + i * N + n;
                if (repack) tile(TILE, K, tiles + (i - first) * K, 1, TILE, panel, from, start_row, to, N);
                else tile(TILE, K, a.at + i * a.row, a.row, a.column, panel, from, start_row, to, N);
            }
    }
    for (int n = 0, i = whole; i < M && n < N; n += PANEL) {
        const float *rest = a.at + i * a.row, *panel = panels + n * K, *from = start ? start + i * start_row + n : 0;
        float *to = c + i * N + n;
        if (M - i == 1) tile(1, K, rest, a.row, a.column, panel, from, start_row, to, N);
        if (M - i == 2) tile(2, K, rest, a.row, a.column, panel, from, start_row, to, N);
        if (M - i == 3) tile(3, K, rest, a.row, a.column, panel, from, start_row, to, N);
    }
}
