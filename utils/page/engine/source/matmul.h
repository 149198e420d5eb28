// Matrix products. The right-hand side is laid out once as panels of 8 columns, and used many times.
#pragma once

enum { PANEL = 8, TILE = 4, BLOCK = 64 };  // columns of a panel; rows computed together; rows repacked together

// A matrix that stands in memory in some order: element (i, k) is at[i * row + k * column].
typedef struct { const float *at; int row, column; } View;

static inline View rows_of(const float *x, int width) { return (View){x, width, 1}; }     // x [rows, width]
static inline View columns_of(const float *x, int width) { return (View){x, 1, width}; }  // the transpose of that

// scale * b [K, N] as panels [N / 8][K][8]; N is a multiple of 8.
void pack(int K, int N, View b, float scale, float *panels);

// c [M, N] = start + a [M, K] * b [K, N], b in panels. start: 0, c itself, or one row for all (a bias).
void multiply(int M, int N, int K, View a, const float *panels, const float *start, float *c);

void multiply_prepare(int longest);  // takes the scratch that `multiply` needs; longest: the largest K to come
