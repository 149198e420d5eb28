// A linear layer, y = x W + b, with or without a LoRA adapter beside it: y = x W + b + scale * x A' B'.
#pragma once
#include "layers.h"
#include "matmul.h"
#include "random.h"

typedef struct {
    int in, out, place;        // place: a number of its own, for dropout
    Tensor weight, bias;       // weight [in, out], or transposed [out, in]; bias [out], or none
    int transposed;
    float *forward, *backward; // the weight as panels, for x W and for dy W'
    int rank;                  // 0: no adapter. Rounded up to whole panels: what is above the real rank is zero and stays so
    float scale, dropout;
    Tensor down, up;           // the adapter: A' [in, rank] and B [out, rank]
    float *dropped, *low;      // kept for backward: the adapter's input [tokens, in], and that times A' [tokens, rank]
} Linear;

// What linear layers share: scratch memory for the panels of an adapter, and for its gradients.
void linear_prepare(int tokens, int widest, int rank, int full);

// To be called whenever the weight has changed.
void linear_pack(Linear *linear);

// y [first..end, out] from x [first..end, in].
void linear_forward(Linear *linear, Rows rows, int first, int end, Dropout dropout, const float *x, float *y);

// Adds to the gradients of what is trained; dx [tokens, in] becomes the gradient of the input, unless it is 0.
void linear_backward(Linear *linear, Rows rows, int tokens, Dropout dropout, const float *x, const float *dy, float *dx);

// y = dropout(x), for x [tokens, width]: each row with a key of its own.
void drop_rows(Rows rows, int width, float p, Dropout dropout, int place, const float *x, float *y);
