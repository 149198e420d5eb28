#include "model.h"

#include "memory.h"
#include "vector.h"

static const int IN[LINEARS] = {1, 1, 1, 4}, OUT[LINEARS] = {3, 1, 4, 1};  // times the width

size_t weight_count(const Model *m) {
    size_t w = m->width, block = 2 * 2 * w;  // two norms
    for (int i = 0; i < LINEARS; i++) block += IN[i] * w * OUT[i] * w + OUT[i] * w;
    return (m->vocabulary + m->context) * w + m->layers * block + 2 * w;
}

// --- Where everything stands --------------------------------------------------------------------------------------
typedef struct { float *weight, *gradient; } Cursor;

static Tensor next(Cursor *c, size_t count) {
    Tensor t = {c->weight, c->gradient};
    c->weight += count;
    if (c->gradient) c->gradient += count;
    return t;
}

static void bind_norm(Norm *norm, Cursor *c) {
    norm->weight = next(c, norm->width);
    norm->bias = next(c, norm->width);
}

static void bind_linear(Linear *l, Cursor *c) {
    l->weight = next(c, (size_t)l->in * l->out);
    l->bias = next(c, l->out);
}

void model_bind(Model *m, float *weights, float *gradients) {
    Cursor c = {weights, gradients};
    m->tokens = m->head.weight = next(&c, (size_t)m->vocabulary * m->width);
    m->positions = next(&c, (size_t)m->context * m->width);
    for (Block *b = m->blocks; b < m->blocks + m->layers; b++) {
        bind_norm(&b->norm_1, &c);
        bind_linear(&b->linear[QKV], &c);
        bind_linear(&b->linear[PROJECT], &c);
        bind_norm(&b->norm_2, &c);
        bind_linear(&b->linear[EXPAND], &c);
        bind_linear(&b->linear[CONTRACT], &c);
    }
    bind_norm(&m->norm, &c);
}

static Norm new_norm(const Model *m) {
    return (Norm){.width = m->width, .epsilon = m->epsilon, .mean = floats(m->capacity), .scale = floats(m->capacity)};
}

static Linear new_linear(int in, int out, int place) {
    return (Linear){.in = in, .out = out, .place = place,
                    .forward = floats((size_t)in * out), .backward = floats((size_t)in * out)};
}

static void add_adapter(Linear *l, int tokens, int rank, float scale, float dropout) {
    l->rank = rank, l->scale = scale, l->dropout = dropout;
    l->low = floats((size_t)tokens * rank);
    if (dropout > 0) l->dropped = floats((size_t)tokens * l->in);
}

void model_prepare(Model *m, int rank, int targets, float scale, float dropout, int full) {
    const int w = m->width, n = m->capacity;
    multiply_prepare(n > m->vocabulary ? n : m->vocabulary);
    linear_prepare(n, 4 * w, rank, full);
    m->lowest = full ? -1 : m->layers * LINEARS;
    m->blocks = take(m->layers * sizeof(Block));
    for (int i = 0; i < m->layers; i++) {
        Block *b = &m->blocks[i];
        b->norm_1 = new_norm(m), b->norm_2 = new_norm(m);
        for (int k = 0; k < LINEARS; k++) {
            const int place = i * LINEARS + k;
            b->linear[k] = new_linear(IN[k] * w, OUT[k] * w, place);
            if (!(targets >> k & 1)) continue;
            add_adapter(&b->linear[k], n, rank, scale, dropout);
            if (place < m->lowest) m->lowest = place;
        }
        b->attention = (Attention){m->heads, w, m->context, floats((size_t)n * m->heads * m->context)};
        b->input = floats((size_t)n * w), b->middle = floats((size_t)n * w);
        b->normed_1 = floats((size_t)n * w), b->normed_2 = floats((size_t)n * w);
        b->qkv = floats((size_t)n * 3 * w), b->mixed = floats((size_t)n * w);
        b->slope = floats((size_t)n * 4 * w), b->hidden = floats((size_t)n * 4 * w);
    }
    m->norm = new_norm(m);
    m->head = new_linear(w, m->vocabulary, -1);
    m->head.transposed = 1;
    m->output = floats((size_t)n * w), m->normed = floats((size_t)n * w);
    m->gradient = floats((size_t)n * w), m->branch = floats((size_t)n * w);
    m->inner = floats((size_t)n * w), m->wide = floats((size_t)n * 4 * w);
    m->picked = floats((size_t)POSITIONS * w), m->logits = floats((size_t)POSITIONS * m->vocabulary);
}

void model_pack(Model *m) {
    for (int i = 0; i < m->layers * LINEARS; i++) linear_pack(&m->blocks[i / LINEARS].linear[i % LINEARS]);
    linear_pack(&m->head);
}

// --- Forward --------------------------------------------------------------------------------------------------------
// The dropout of the base itself, on a branch before it joins the residual stream. Places: behind those of the adapters.
static int branch(const Model *m, int block, int of_mlp) { return m->layers * LINEARS + 1 + 2 * block + of_mlp; }
static int embedding(const Model *m) { return m->layers * LINEARS; }

static void drop_branch(Model *m, Rows rows, float p, int place, const float *x, float *y) {
    if (m->dropout.on && p > 0) drop_rows(rows, m->width, p, m->dropout, place, x, y);
    else if (x != y) __builtin_memcpy(y, x, sizeof(float) * tokens_of(rows) * m->width);
}

static void embed(Model *m, Rows rows, int first, float *x) {
    const int w = m->width;
    for (int r = 0; r < rows.count; r++)
        for (int t = rows.start[r] > first ? rows.start[r] : first; t < rows.start[r + 1]; t++) {
            __builtin_memcpy(x + t * w, m->tokens.value + rows.ids[t] * w, sizeof(float) * w);
            add(w, m->positions.value + (t - rows.start[r]) * w, x + t * w);
        }
    drop_branch(m, rows, m->embedding_dropout, embedding(m), x, x);
}

// y = x + dropout(branch), where y holds the branch
static void join(Model *m, Rows rows, int first, int end, int place, const float *x, float *y) {
    drop_branch(m, rows, m->residual_dropout, place, y, y);
    add((end - first) * m->width, x + first * m->width, y + first * m->width);
}

void model_forward(Model *m, Rows rows, int first) {
    const int end = tokens_of(rows), w = m->width;
    embed(m, rows, first, m->blocks[0].input);
    for (int i = 0; i < m->layers; i++) {
        Block *b = &m->blocks[i];
        float *output = i + 1 < m->layers ? m->blocks[i + 1].input : m->output;
        norm_forward(&b->norm_1, first, end, b->input, b->normed_1);
        linear_forward(&b->linear[QKV], rows, first, end, m->dropout, b->normed_1, b->qkv);
        attention_forward(&b->attention, rows, first, b->qkv, b->mixed);
        linear_forward(&b->linear[PROJECT], rows, first, end, m->dropout, b->mixed, b->middle);
        join(m, rows, first, end, branch(m, i, 0), b->input, b->middle);
        norm_forward(&b->norm_2, first, end, b->middle, b->normed_2);
        linear_forward(&b->linear[EXPAND], rows, first, end, m->dropout, b->normed_2, b->slope);
        gelu_forward((end - first) * 4 * w, b->slope + first * 4 * w, b->hidden + first * 4 * w);
        linear_forward(&b->linear[CONTRACT], rows, first, end, m->dropout, b->hidden, output);
        join(m, rows, first, end, branch(m, i, 1), b->middle, output);
    }
    norm_forward(&m->norm, first, end, m->output, m->normed);
}

void model_logits(Model *m, int count, const int *at) {
    for (int i = 0; i < count; i++)
        __builtin_memcpy(m->picked + i * m->width, m->normed + at[i] * m->width, sizeof(float) * m->width);
    linear_forward(&m->head, (Rows){0}, 0, count, m->dropout, m->picked, m->logits);
}

// --- Backward -------------------------------------------------------------------------------------------------------
// dx [tokens, width] becomes the gradient of the normed output; gives the nats. MATH.md (4)
static double loss_backward(Model *m, Rows rows, float share, float *dx) {
    const int n = tokens_of(rows), w = m->width, v = m->vocabulary;
    double nats = 0;
    for (int first = 0; first < n; first += POSITIONS) {
        const int count = n - first < POSITIONS ? n - first : POSITIONS;
        const float *x = m->normed + first * w;
        linear_forward(&m->head, rows, 0, count, m->dropout, x, m->logits);
        for (int i = 0; i < count; i++) {
            float *p = m->logits + i * v;
            const int target = rows.targets[first + i];
            const float chosen = p[target];
            nats += softmax(v, p) - chosen;
            p[target] -= 1;
            for (int k = 0; k < v; k += 4) store(p + k, share * load(p + k));
        }
        linear_backward(&m->head, rows, count, m->dropout, x, m->logits, dx + first * w);
    }
    return nats;
}

static void embed_backward(Model *m, Rows rows, const float *dx) {
    const int w = m->width;
    for (int r = 0; r < rows.count; r++)
        for (int t = rows.start[r]; t < rows.start[r + 1]; t++) {
            add(w, dx + t * w, m->tokens.gradient + rows.ids[t] * w);
            add(w, dx + t * w, m->positions.gradient + (t - rows.start[r]) * w);
        }
}

// Through one linear layer. False: nothing below it is trained, and the gradient of its input is not needed.
static int through(Model *m, Rows rows, Linear *l, const float *x, const float *dy, float *dx) {
    const int below = l->place > m->lowest;
    linear_backward(l, rows, tokens_of(rows), m->dropout, x, dy, below ? dx : 0);
    return below;
}

double model_backward(Model *m, Rows rows, float share) {
    const int n = tokens_of(rows), w = m->width;
    float *dx = m->gradient;
    double nats = loss_backward(m, rows, share, m->inner);
    __builtin_memset(dx, 0, sizeof(float) * n * w);
    norm_backward(&m->norm, n, m->output, m->inner, dx);
    for (int i = m->layers - 1; i >= 0; i--) {
        Block *b = &m->blocks[i];
        drop_branch(m, rows, m->residual_dropout, branch(m, i, 1), dx, m->branch);
        if (!through(m, rows, &b->linear[CONTRACT], b->hidden, m->branch, m->wide)) return nats;
        for (int k = 0; k < n * 4 * w; k += 4) store(m->wide + k, load(m->wide + k) * load(b->slope + k));
        if (!through(m, rows, &b->linear[EXPAND], b->normed_2, m->wide, m->inner)) return nats;
        norm_backward(&b->norm_2, n, b->middle, m->inner, dx);
        drop_branch(m, rows, m->residual_dropout, branch(m, i, 0), dx, m->branch);
        if (!through(m, rows, &b->linear[PROJECT], b->mixed, m->branch, m->inner)) return nats;
        attention_backward(&b->attention, rows, b->qkv, m->inner, m->wide);
        if (!through(m, rows, &b->linear[QKV], b->normed_1, m->wide, m->inner)) return nats;
        norm_backward(&b->norm_1, n, b->input, m->inner, dx);
    }
    drop_branch(m, rows, m->embedding_dropout, embedding(m), dx, dx);
    embed_backward(m, rows, dx);
    return nats;
}
