#include "linear.h"

#include "memory.h"
#include "vector.h"

static float *panels;  // of a small matrix, packed just before it is used
static float *d_low;   // [tokens, rank]
static float *spare;   // [tokens, widest]

void linear_prepare(int tokens, int widest, int rank, int full) {
    int longest = tokens > widest ? tokens : widest;
    panels = floats((size_t)longest * (full ? widest : rank));
    d_low = floats((size_t)tokens * rank);
    spare = floats((size_t)tokens * widest);
}

void drop_rows(Rows rows, int width, float p, Dropout dropout, int place, const float *x, float *y) {
    for (int r = 0; r < rows.count; r++) {
        size_t at = (size_t)rows.start[r] * width;
        drop((rows.start[r + 1] - rows.start[r]) * width, p, key_of(dropout, rows.number + r, place), x + at, y + at);
    }
}

void linear_pack(Linear *l) {
    View plain = l->transposed ? columns_of(l->weight.value, l->in) : rows_of(l->weight.value, l->out);
    View turned = {plain.at, plain.column, plain.row};
    pack(l->in, l->out, plain, 1, l->forward);
    pack(l->out, l->in, turned, 1, l->backward);
}

static int drops(const Linear *l, Dropout dropout) { return dropout.on && l->rank && l->dropout > 0; }

void linear_forward(Linear *l, Rows rows, int first, int end, Dropout dropout, const float *x, float *y) {
    const int n = end - first;
    x += (size_t)first * l->in;
    y += (size_t)first * l->out;
    multiply(n, l->out, l->in, rows_of(x, l->in), l->forward, l->bias.value, y);
    if (!l->rank) return;
    const float *input = x;
    if (drops(l, dropout)) drop_rows(rows, l->in, l->dropout, dropout, l->place, x, l->dropped), input = l->dropped;
    float *low = l->low + (size_t)first * l->rank;
    pack(l->in, l->rank, rows_of(l->down.value, l->rank), 1, panels);
    multiply(n, l->rank, l->in, rows_of(input, l->in), panels, 0, low);
    pack(l->rank, l->out, columns_of(l->up.value, l->rank), l->scale, panels);
    multiply(n, l->out, l->rank, rows_of(low, l->rank), panels, y, y);
}

// MATH.md (5): the weight's own gradient, in full fine-tuning.
static void weight_backward(Linear *l, int tokens, const float *x, const float *dy) {
    float *d = l->weight.gradient;
    if (l->transposed) {  // dW' = dy' x
        pack(tokens, l->in, rows_of(x, l->in), 1, panels);
        multiply(l->out, l->in, tokens, columns_of(dy, l->out), panels, d, d);
    } else {  // dW = x' dy
        pack(tokens, l->out, rows_of(dy, l->out), 1, panels);
        multiply(l->in, l->out, tokens, columns_of(x, l->in), panels, d, d);
    }
    for (int t = 0; l->bias.gradient && t < tokens; t++) add(l->out, dy + (size_t)t * l->out, l->bias.gradient);
}

void linear_backward(Linear *l, Rows rows, int tokens, Dropout dropout, const float *x, const float *dy, float *dx) {
    if (dx) multiply(tokens, l->in, l->out, rows_of(dy, l->out), l->backward, 0, dx);
    if (l->weight.gradient) weight_backward(l, tokens, x, dy);
    if (!l->rank) return;
    // MATH.md (6): the adapter's. The scale goes into the small matrix each time.
    const int dropped = drops(l, dropout), rank = l->rank;
    const float *input = dropped ? l->dropped : x;
    pack(l->out, rank, rows_of(l->up.value, rank), l->scale, panels);
    multiply(tokens, rank, l->out, rows_of(dy, l->out), panels, 0, d_low);
    pack(tokens, rank, rows_of(l->low, rank), l->scale, panels);
    multiply(l->out, rank, tokens, columns_of(dy, l->out), panels, l->up.gradient, l->up.gradient);
    pack(tokens, rank, rows_of(d_low, rank), 1, panels);
    multiply(l->in, rank, tokens, columns_of(input, l->in), panels, l->down.gradient, l->down.gradient);
    if (!dx) return;
    pack(rank, l->in, columns_of(l->down.value, rank), 1, panels);
    if (!dropped) {
        multiply(tokens, l->in, rank, rows_of(d_low, rank), panels, dx, dx);
        return;
    }
    multiply(tokens, l->in, rank, rows_of(d_low, rank), panels, 0, spare);
    drop_rows(rows, l->in, l->dropout, dropout, l->place, spare, spare);
    add(tokens * l->in, spare, dx);
}
