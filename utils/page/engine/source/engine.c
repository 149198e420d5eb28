// What JavaScript calls. One model is loaded, and one run at a time stands in the memory behind it.
#include "adam.h"
#include "memory.h"
#include "model.h"
#include "vector.h"

static Model model;
static Adam adam;
static float *base, *tuned, *mixed;  // the weights as loaded; in full fine-tuning, as trained, and a mixture of both
static void *run;                    // where the memory of the run begins

// --- Load: once -----------------------------------------------------------------------------------------------------
// Gives the place for the weights, float32, in the order of GPT-2's state_dict, the embedding once.
EXPORT(load) float *load_model(int vocabulary, int context, int width, int heads, int layers, float epsilon, int capacity) {
    model = (Model){.vocabulary = vocabulary, .context = context, .width = width, .heads = heads, .layers = layers,
                    .capacity = capacity, .epsilon = epsilon};
    return base = floats(weight_count(&model));
}

EXPORT(weight_count) int count_weights(void) { return weight_count(&model); }

// --- Start: once a run --------------------------------------------------------------------------------------------
// What JavaScript takes after this is given back at the next one.
static void begin(int rank, int targets, float scale, float dropout, int full) {
    if (!run) run = take(0);
    release(run);
    model_prepare(&model, rank, targets, scale, dropout, full);
    tuned = mixed = 0;
    adam = (Adam){0};
    model.dropout = (Dropout){0};
}

// LoRA on the layers whose bit is set in targets (bit 0: c_attn, 1: attn.c_proj, 2: c_fc, 3: mlp.c_proj); rank in whole
// panels of 8. The adapters are zero until `adapter` has been written. No targets: nothing is trained, and the base answers.
EXPORT(start_lora) void start_lora(int rank, int targets, float scale, float lora_dropout) {
    begin(rank, targets, scale, lora_dropout, 0);
    model_bind(&model, base, 0);
    size_t count = 0;
    for (int i = 0; i < model.layers * LINEARS; i++) {
        Linear *l = &model.blocks[i / LINEARS].linear[i % LINEARS];
        count += (size_t)l->rank * (l->in + l->out);
    }
    Tensor all = {floats(count), floats(count)};
    adam = adam_new(count, all);
    for (int i = 0; i < model.layers * LINEARS; i++) {
        Linear *l = &model.blocks[i / LINEARS].linear[i % LINEARS];
        size_t down = (size_t)l->rank * l->in, up = (size_t)l->rank * l->out;
        l->down = all, all.value += down, all.gradient += down;
        l->up = all, all.value += up, all.gradient += up;
    }
    model_pack(&model);
}

// Every weight is trained, on a copy.
EXPORT(start_full) void start_full(void) {
    const size_t count = weight_count(&model);
    begin(0, 0, 1, 0, 1);
    tuned = floats(count), mixed = floats(count);
    __builtin_memcpy(tuned, base, count * sizeof(float));
    adam = adam_new(count, (Tensor){tuned, floats(count)});
    model_bind(&model, tuned, adam.trained.gradient);
    model_pack(&model);
}

// The base's own dropout, on the embeddings and on what attention and MLP add to the residual stream.
EXPORT(base_dropout) void base_dropout(float on_embedding, float on_residual) {
    model.embedding_dropout = on_embedding;
    model.residual_dropout = on_residual;
}

// A' [in, rank] of a layer, with B [out, rank] right behind it; 0 if it has none.
EXPORT(adapter) float *adapter(int block, int layer) { return model.blocks[block].linear[layer].down.value; }

// What is trained, as one array, and its gradient.
EXPORT(trained) float *trained(void) { return adam.trained.value; }
EXPORT(gradient) float *gradient(void) { return adam.trained.gradient; }
EXPORT(trained_count) int trained_count(void) { return adam.count; }

// --- Train ----------------------------------------------------------------------------------------------------------
// Adds the gradient of share * nats of these rows, and gives the nats. start: [count + 1]; number: of the first row in its step.
EXPORT(accumulate) double accumulate(
    int count, const int *start, const int *ids, const int *targets, float share, int seed, int step, int number
) {
    const Rows rows = {count, number, start, ids, targets};
    model.dropout = (Dropout){seed, step, 1};
    model_forward(&model, rows, 0);
    double nats = model_backward(&model, rows, share);
    model.dropout.on = 0;
    return nats;
}

// One optimiser step; gives the norm of the gradient.
EXPORT(update) double update(double rate) {
    double norm = adam_step(&adam, rate);
    if (tuned) model_pack(&model);
    return norm;
}

// --- Ask ------------------------------------------------------------------------------------------------------------
// The adapter's output times s, or weights s of the way from the base to the tuned ones. s = 1: as trained. Not between steps.
EXPORT(strength) void strength(float scale, float s) {
    for (int i = 0; i < model.layers * LINEARS; i++) model.blocks[i / LINEARS].linear[i % LINEARS].scale = scale * s;
    if (!tuned) return;
    for (int i = 0; i < adam.count; i++) mixed[i] = base[i] + s * (tuned[i] - base[i]);
    model_bind(&model, s == 1 ? tuned : mixed, adam.trained.gradient);
    model_pack(&model);
}

typedef struct { float *nats; int *agreed, *instead, *after; } Scores;

// Looks at some positions, in the order of the rows; row[i] is the row of position at[i].
static void judge(Rows rows, int count, const int *at, const int *row, Scores scores) {
    model_logits(&model, count, at);
    for (int i = 0; i < count; i++) {
        float *logits = model.logits + i * model.vocabulary;
        const int target = rows.targets[at[i]], r = row[i];
        const int best = likeliest(model.vocabulary, logits);
        if (target < 0) {  // a place left open
            scores.after[r] = best;
            continue;
        }
        const float chosen = logits[target];
        scores.nats[r] += softmax(model.vocabulary, logits) - chosen;
        if (scores.instead[r] >= 0) continue;
        if (best == target) scores.agreed[r]++;
        else scores.instead[r] = best;
    }
}

// Of each row, scored from its position from[r] on: the nats, how many targets the likeliest tokens agree with, up to the
// first that they do not, and what they have in its place (-1 where they agree with all). The last target of a row may be -1: it
// is not scored, and `after` becomes the likeliest token there.
EXPORT(score) void score(
    int count, const int *start, const int *ids, const int *targets, const int *from, float *nats, int *agreed, int *instead,
    int *after
) {
    const Rows rows = {count, 0, start, ids, targets};
    const Scores scores = {nats, agreed, instead, after};
    int at[POSITIONS], row[POSITIONS], some = 0;
    model_forward(&model, rows, 0);
    for (int r = 0; r < count; r++) {
        nats[r] = agreed[r] = 0, instead[r] = after[r] = -1;
        for (int t = start[r] + from[r]; t < start[r + 1]; t++) {
            at[some] = t, row[some++] = r;
            if (some == POSITIONS) judge(rows, some, at, row, scores), some = 0;
        }
    }
    if (some) judge(rows, some, at, row, scores);
}

// The likeliest token after these, of which the first `known` were read by the call before: greedy decoding, with its cache.
EXPORT(next_token) int next_token(int length, const int *ids, int known) {
    const int start[2] = {0, length}, last = length - 1;
    const Rows rows = {1, 0, start, ids, 0};
    model_forward(&model, rows, known);
    model_logits(&model, 1, &last);
    return likeliest(model.vocabulary, model.logits);
}

// The logits [vocabulary] behind the answer of `next_token`.
EXPORT(logits) float *logits(void) { return model.logits; }
