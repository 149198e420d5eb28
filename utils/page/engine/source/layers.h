// What a transformer is made of besides matrix products: each layer forward and backward. MATH.md has the formulas.
#pragma once

typedef struct { float *value, *gradient; } Tensor;  // gradient: 0 if it is not trained

// The rows of one pass, one behind the other without padding: row r is the tokens start[r] to start[r + 1] - 1, ids what is
// read and targets what comes next. The last token of a text is read by nobody: it is a target only.
// number: that of the first row within its step, where a step takes several passes.
typedef struct { int count, number; const int *start, *ids, *targets; } Rows;

static inline int tokens_of(Rows rows) { return rows.start[rows.count]; }

typedef struct { int width; float epsilon; Tensor weight, bias; float *mean, *scale; } Norm;  // mean, scale: [tokens]

// y [tokens, width] from x; keeps the mean and the scale of each token.
void norm_forward(Norm *norm, int first, int end, const float *x, float *y);
// dx += gradient through the norm of dy.
void norm_backward(Norm *norm, int tokens, const float *x, const float *dy, float *dx);

// y = gelu(x); x becomes the slope there, which is all that backward needs.
void gelu_forward(int n, float *x, float *y);

typedef struct { int heads, width, context; float *weights; } Attention;  // weights: [tokens, heads, context]

// Causal attention of each row with itself, from token `first` on. qkv [tokens, 3 width], y [tokens, width].
void attention_forward(Attention *attention, Rows rows, int first, const float *qkv, float *y);
// dqkv from dy. Uses up the weights.
void attention_backward(Attention *attention, Rows rows, const float *qkv, const float *dy, float *dqkv);

// x becomes softmax(x). Gives ln of the sum of e^x.
double softmax(int n, float *x);
// The index of the largest; of several, the first one.
int likeliest(int n, const float *x);
