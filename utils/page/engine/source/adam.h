// AdamW without weight decay, as transformers' Trainer runs it by default, with the gradient clipped to norm 1.
#pragma once
#include "layers.h"

typedef struct { int count, steps; Tensor trained; float *mean, *square; } Adam;  // mean, square: of the gradients so far

Adam adam_new(int count, Tensor trained);
// One step at this learning rate, after which the gradients are zero. Gives the norm of the gradient before clipping.
double adam_step(Adam *adam, double rate);
