#include "adam.h"

#include "memory.h"

static const double MEAN_DECAY = 0.9, SQUARE_DECAY = 0.999, LONGEST = 1.0;
static const float EPSILON = 1e-8f;

Adam adam_new(int count, Tensor trained) {
    return (Adam){.count = count, .trained = trained, .mean = floats(count), .square = floats(count)};
}

static double norm_of(int n, const float *x) {
    double squares = 0;
    for (int i = 0; i < n; i++) squares += (double)x[i] * x[i];
    return __builtin_sqrt(squares);
}

static double power(double x, int n) {
    double y = 1;
    while (n-- > 0) y *= x;
    return y;
}

// MATH.md (7)
double adam_step(Adam *adam, double rate) {
    const double norm = norm_of(adam->count, adam->trained.gradient);
    const float clip = norm > LONGEST ? LONGEST / (norm + 1e-6) : 1;
    adam->steps++;
    const float size = rate / (1 - power(MEAN_DECAY, adam->steps));
    const float root = __builtin_sqrt(1 - power(SQUARE_DECAY, adam->steps));
    const float a = 1 - MEAN_DECAY, b = SQUARE_DECAY, c = 1 - SQUARE_DECAY;
    float *w = adam->trained.value, *d = adam->trained.gradient, *mean = adam->mean, *square = adam->square;
    for (int i = 0; i < adam->count; i++) {
        const float g = clip * d[i];
        mean[i] += a * (g - mean[i]);
        square[i] = b * square[i] + c * g * g;
        w[i] -= size * mean[i] / (__builtin_sqrtf(square[i]) / root + EPSILON);
        d[i] = 0;
    }
    return norm;
}
