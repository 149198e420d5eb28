#include "layers.h"

#include "vector.h"

// --- Layer norm: MATH.md (1) ----------------------------------------------------------------------------------------
void norm_forward(Norm *norm, int first, int end, const float *x, float *y) {
    const int n = norm->width;
    for (int t = first; t < end; t++) {
        const float *xt = x + t * n;
        float *yt = y + t * n;
        f4 total = all(0), squares = all(0);
        for (int i = 0; i < n; i += 4) total += load(xt + i);
        const float mean = sum(total) / n;
        for (int i = 0; i < n; i += 4) {
            f4 centred = load(xt + i) - mean;
            squares += centred * centred;
        }
        const float scale = 1 / __builtin_sqrtf(sum(squares) / n + norm->epsilon);
        for (int i = 0; i < n; i += 4)
            store(yt + i, (load(xt + i) - mean) * scale * load(norm->weight.value + i) + load(norm->bias.value + i));
        norm->mean[t] = mean;
        norm->scale[t] = scale;
    }
}

void norm_backward(Norm *norm, int tokens, const float *x, const float *dy, float *dx) {
    const int n = norm->width;
    for (int t = 0; t < tokens; t++, x += n, dy += n, dx += n) {
        const float mean = norm->mean[t], scale = norm->scale[t];
        f4 a = all(0), b = all(0);
        for (int i = 0; i < n; i += 4) {
            f4 h = (load(x + i) - mean) * scale, dh = load(dy + i) * load(norm->weight.value + i);
            a += dh;
            b += dh * h;
        }
        const float mean_dh = sum(a) / n, mean_dh_h = sum(b) / n;
        for (int i = 0; i < n; i += 4) {
            f4 h = (load(x + i) - mean) * scale, dh = load(dy + i) * load(norm->weight.value + i);
            store(dx + i, load(dx + i) + scale * (dh - mean_dh - h * mean_dh_h));
            if (norm->weight.gradient) {
                store(norm->weight.gradient + i, load(norm->weight.gradient + i) + load(dy + i) * h);
                store(norm->bias.gradient + i, load(norm->bias.gradient + i) + load(dy + i));
            }
        }
    }
}

// --- GELU, in its tanh form: MATH.md (2) ------------------------------------------------------------------------------
void gelu_forward(int n, float *x, float *y) {
    const float c = 0.7978845608f, d = 0.044715f;  // c = sqrt(2 / pi)
    for (int i = 0; i < n; i += 4) {
        f4 v = load(x + i), square = v * v;
        f4 s = 1 / (1 + exp4(-2 * c * v * (1 + d * square)));  // (1 + tanh z) / 2 is the logistic function of 2 z
        store(y + i, v * s);
        store(x + i, s + v * s * (1 - s) * (2 * c) * (1 + 3 * d * square));
    }
}

// --- Attention: MATH.md (3) -----------------------------------------------------------------------------------------
// y [size] = sum over j of w[j * w_next] * x[j * next], in registers; size is a multiple of 8.
static void weighted_sum(int size, int count, const float *w, int w_next, const float *x, int next, float *y) {
    for (int i = 0; i < size; i += 8) {
        f4 left = all(0), right = all(0);
        for (int j = 0; j < count; j++) {
            left += w[j * w_next] * load(x + j * next + i);
            right += w[j * w_next] * load(x + j * next + i + 4);
        }
        store(y + i, left);
        store(y + i + 4, right);
    }
}

void attention_forward(Attention *attention, Rows rows, int first, const float *qkv, float *y) {
    const int heads = attention->heads, width = attention->width, size = width / heads, next = 3 * width;
    const float root = 1 / __builtin_sqrtf(size);
    for (int r = 0; r < rows.count; r++)
        for (int t = rows.start[r] > first ? rows.start[r] : first; t < rows.start[r + 1]; t++)
            for (int head = 0; head < heads; head++) {
                const int start = rows.start[r], seen = t - start + 1, at = head * size;
                const float *q = qkv + t * next + at, *k = qkv + start * next + width + at, *v = k + width;
                float *w = attention->weights + (t * heads + head) * attention->context;
                for (int j = 0; j < seen; j++) w[j] = root * dot(size, q, k + j * next);
                softmax(seen, w);
                weighted_sum(size, seen, w, 1, v, next, y + t * width + at);
            }
}

// One row, one head. The weights [n, n] are in w, w_next apart, and become the gradients of the scores.
static void head_backward(
    int n, int size, float *w, int w_next, const float *q, const float *k, const float *v, int next,
    const float *dy, int dy_next, float *dq, float *dk, float *dv
) {
    const float root = 1 / __builtin_sqrtf(size);
    for (int j = 0; j < n; j++)  // a key is seen by itself and by all that come later
        weighted_sum(size, n - j, w + j * w_next + j, w_next, dy + j * dy_next, dy_next, dv + j * next);
    for (int t = 0; t < n; t++) {
        float *wt = w + t * w_next, dw[n], mean = 0;
        for (int j = 0; j <= t; j++) {
            dw[j] = dot(size, dy + t * dy_next, v + j * next);
            mean += wt[j] * dw[j];
        }
        for (int j = 0; j <= t; j++) wt[j] *= root * (dw[j] - mean);
    }
    for (int t = 0; t < n; t++) {
        weighted_sum(size, t + 1, w + t * w_next, 1, k, next, dq + t * next);
        weighted_sum(size, n - t, w + t * w_next + t, w_next, q + t * next, next, dk + t * next);
    }
}

void attention_backward(Attention *attention, Rows rows, const float *qkv, const float *dy, float *dqkv) {
    const int heads = attention->heads, width = attention->width, size = width / heads;
    for (int r = 0; r < rows.count; r++)
        for (int head = 0; head < heads; head++) {
            const int start = rows.start[r], n = rows.start[r + 1] - start;
            float *w = attention->weights + (start * heads + head) * attention->context;
            const float *q = qkv + start * 3 * width + head * size, *k = q + width, *v = k + width;
            float *dq = dqkv + start * 3 * width + head * size, *dk = dq + width, *dv = dk + width;
            head_backward(n, size, w, heads * attention->context, q, k, v, 3 * width, dy + start * width + head * size, width,
                          dq, dk, dv);
        }
}

// --- Softmax: MATH.md (4) -------------------------------------------------------------------------------------------
double softmax(int n, float *x) {
    const int even = n - n % 4;
    f4 most = all(x[0]), sums = all(0);
    for (int i = 0; i < even; i += 4) most = larger(load(x + i), most);
    float largest = most[0];
    for (int i = 1; i < 4; i++) largest = most[i] > largest ? most[i] : largest;
    for (int i = even; i < n; i++) largest = x[i] > largest ? x[i] : largest;
    for (int i = 0; i < even; i += 4) {
        f4 e = exp4(load(x + i) - largest);
        sums += e;
        store(x + i, e);
    }
    float total = sum(sums);
    for (int i = even; i < n; i++) total += x[i] = exp4(all(x[i] - largest))[0];
    const float share = 1 / total;
    for (int i = 0; i < even; i += 4) store(x + i, load(x + i) * share);
    for (int i = even; i < n; i++) x[i] *= share;
    return largest + ln(total);
}

int likeliest(int n, const float *x) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}
