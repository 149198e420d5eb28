// GPT-2: its weights, what a forward pass keeps for the backward pass, and the two passes.
#pragma once
#include <stddef.h>

#include "layers.h"
#include "linear.h"

enum { QKV, PROJECT, EXPAND, CONTRACT, LINEARS };  // the linear layers of a block, in the order in which a pass meets them

typedef struct {
    Norm norm_1, norm_2;
    Linear linear[LINEARS];
    Attention attention;
    float *input, *middle;        // the residual stream before attention and before the MLP, [tokens, width]
    float *normed_1, *normed_2;   // [tokens, width]
    float *qkv, *mixed;           // [tokens, 3 width], and what attention makes of it, [tokens, width]
    float *slope, *hidden;        // of GELU and behind it, [tokens, 4 width]
} Block;

typedef struct {
    int vocabulary, context, width, heads, layers, capacity;  // capacity: tokens of one pass, at most
    float epsilon, embedding_dropout, residual_dropout;
    Tensor tokens, positions;     // the embeddings [vocabulary, width] and [context, width]
    Block *blocks;
    Norm norm;                    // the last one
    Linear head;                  // its weight is the token embedding
    float *output, *normed;       // [tokens, width]
    float *gradient;              // of the residual stream, [tokens, width]
    float *branch, *inner, *wide; // scratch of the backward pass: [tokens, width] twice, [tokens, 4 width]
    float *picked, *logits;       // of some positions at a time: [POSITIONS, width], [POSITIONS, vocabulary]
    int lowest;                   // the lowest linear layer that is trained, block * LINEARS + layer; -1: everything is
    Dropout dropout;
} Model;

enum { POSITIONS = 64 };          // so many logits stay in the cache while they are looked at

size_t weight_count(const Model *m);
// Points the layers at weights (and their gradients, or 0) that stand in the order of GPT-2's state_dict.
void model_bind(Model *m, float *weights, float *gradients);
// Takes the memory of a pass, with adapters of this rank on the layers whose bit is set in `targets`.
void model_prepare(Model *m, int rank, int targets, float scale, float dropout, int full);
void model_pack(Model *m);

// From token `first` on, the normed output of the last block; the tokens before it are known from the pass before.
void model_forward(Model *m, Rows rows, int first);
// Adds the gradient of share * nats, summed over all targets, to the gradients. Gives the nats. After model_forward.
double model_backward(Model *m, Rows rows, float share);
// Logits [count, vocabulary] of the positions `at`, into m->logits; count is at most POSITIONS.
void model_logits(Model *m, int count, const int *at);
