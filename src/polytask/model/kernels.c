/* The passes between the matrix products, each in one sweep over memory: attention of a flat batch
   with dropout, and LayerNorm(residual + dropout(x)), forward and backward, float32.

   They compute what model/attention.py and model/dropout.py compute with torch's operations, and are
   used where a C compiler with OpenMP is at hand (model/kernels.py). Widths are multiples of LANES.
   Every number is written by one thread in one order: results do not depend on how many there are. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16, ROWS = 4, CHUNK = 32 };  /* CHUNK: rows whose sums are one partial sum */

typedef float vec __attribute__((vector_size(64)));
typedef int32_t ivec __attribute__((vector_size(64)));
typedef uint32_t uvec __attribute__((vector_size(64)));
typedef float unaligned __attribute__((vector_size(64), aligned(4)));

static inline vec load(const float *p) { return *(const unaligned *)p; }
static inline void store(float *p, vec x) { *(unaligned *)p = x; }
static inline vec all(float x) { return x - (vec){0}; }
static inline vec pick(ivec mask, vec x) { return (vec)(mask & (ivec)x); }
static inline vec larger(vec a, vec b) { ivec m = a > b; return (vec)((m & (ivec)a) | (~m & (ivec)b)); }

static inline float sum(vec x) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += x[i];
    return total;
}

static inline float largest(vec x) {
    float top = x[0];
    for (int i = 1; i < LANES; i++) top = x[i] > top ? x[i] : top;
    return top;
}

/* e^x for x <= 0, to two units in the last place; 0 below -87.3. */
static inline vec exponential(vec x) {
    ivec alive = x > -87.3f;
    x = pick(alive, x);
    vec n = x * 1.44269504f + 12582912.0f - 12582912.0f;  /* rounds to an integer */
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec y = all(1.9875691500e-4f);
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    ivec power = (__builtin_convertvector(n, ivec) + 127) << 23;
    return pick(alive, y * (vec)power);
}

/* ---- dropout: element (row, column) of a draw has a random number of its own, so that the backward
   pass makes the mask again instead of reading it. */

typedef struct { uint32_t before, after; } key;

static inline key key_of(uint64_t seed, uint64_t row) {
    uint64_t z = seed + (row + 1) * 0x9E3779B97F4A7C15u;  /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (key){(uint32_t)z, (uint32_t)(z >> 32)};
}

/* Return 1 / (1 - p) where an element is kept and 0 where it is dropped; threshold = p * 2^32. */
static inline vec mask(key k, int column, uint32_t threshold, float inverse) {
    static const uvec steps = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uvec x = (steps + (uint32_t)column) * 0x9E3779B9u + k.before;
    x = (x ^ (x >> 16)) * 0x21F0AAADu;  /* a mixer of 32 bits without measurable bias */
    x = (x ^ (x >> 15)) * 0xD35A2D97u;
    x = x ^ (x >> 15) ^ k.after;
    return pick((ivec)(x >= threshold), all(inverse));
}

void dropout_mask(float *out, int64_t rows, int64_t width, uint64_t seed, uint32_t threshold,
                  float inverse) {
    for (int64_t r = 0; r < rows; r++) {
        key k = key_of(seed, r);
        for (int c = 0; c < width; c += LANES) store(out + r * width + c, mask(k, c, threshold, inverse));
    }
}

/* ---- LayerNorm(residual + dropout(x)) */

void norm_forward(const float *residual, const float *x, const float *weight, const float *bias,
                  float *total, float *out, float *moments, int64_t rows, int64_t width, float eps,
                  uint64_t seed, uint32_t threshold, float inverse, int threads) {
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *a = residual + r * width, *b = x + r * width;
        float *t = total + r * width, *y = out + r * width;
        key k = key_of(seed, r);
        vec s = {0}, q = {0};
        for (int c = 0; c < width; c += LANES) {
            vec added = load(b + c);
            if (threshold) added *= mask(k, c, threshold, inverse);
            vec v = load(a + c) + added;
            store(t + c, v);
            s += v;
        }
        float mean = sum(s) / width;
        for (int c = 0; c < width; c += LANES) { vec v = load(t + c) - mean; q += v * v; }
        float rstd = 1.0f / sqrtf(sum(q) / width + eps);
        for (int c = 0; c < width; c += LANES)
            store(y + c, (load(t + c) - mean) * rstd * load(weight + c) + load(bias + c));
        moments[2 * r] = mean;
        moments[2 * r + 1] = rstd;
    }
}

/* by_x may be null (then it equals by_residual); partial holds 2 * width floats for each CHUNK. */
void norm_backward(const float *grad, const float *total, const float *weight, const float *moments,
                   float *by_residual, float *by_x, float *by_weight, float *by_bias, float *partial,
                   int64_t rows, int64_t width, uint64_t seed, uint32_t threshold, float inverse,
                   int threads) {
    int64_t chunks = (rows + CHUNK - 1) / CHUNK;
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t n = 0; n < chunks; n++) {
        float *w = partial + 2 * n * width, *b = w + width;
        memset(w, 0, 2 * width * sizeof(float));
        int64_t stop = (n + 1) * CHUNK < rows ? (n + 1) * CHUNK : rows;
        for (int64_t r = n * CHUNK; r < stop; r++) {
            const float *g = grad + r * width, *t = total + r * width;
            float mean = moments[2 * r], rstd = moments[2 * r + 1];
            key k = key_of(seed, r);
            vec s = {0}, q = {0};
            for (int c = 0; c < width; c += LANES) {
                vec d = load(g + c), unit = (load(t + c) - mean) * rstd, dw = d * load(weight + c);
                store(w + c, load(w + c) + d * unit);
                store(b + c, load(b + c) + d);
                s += dw;
                q += dw * unit;
            }
            float shift = sum(s) / width, slope = sum(q) / width;
            for (int c = 0; c < width; c += LANES) {
                vec unit = (load(t + c) - mean) * rstd;
                vec d = (load(g + c) * load(weight + c) - shift - unit * slope) * rstd;
                store(by_residual + r * width + c, d);
                if (by_x) store(by_x + r * width + c, d * mask(k, c, threshold, inverse));
            }
        }
    }
    memset(by_weight, 0, width * sizeof(float));
    memset(by_bias, 0, width * sizeof(float));
    for (int64_t n = 0; n < chunks; n++)
        for (int c = 0; c < width; c += LANES) {
            const float *w = partial + 2 * n * width + c;
            store(by_weight + c, load(by_weight + c) + load(w));
            store(by_bias + c, load(by_bias + c) + load(w + width));
        }
}

/* ---- attention: one head of one sequence at a time. q, k, v, out are rows of `stride` floats, d of
   which belong to the head; L is the sequence's length and P that rounded up to LANES. */

/* across[c][j] = rows[j][c], zero for j in L .. P */
static void turn(const float *rows, int64_t stride, int L, int P, int d, float *across) {
    for (int c = 0; c < d; c++) {
        for (int j = 0; j < L; j++) across[c * P + j] = rows[j * stride + c];
        for (int j = L; j < P; j++) across[c * P + j] = 0;
    }
}

/* out[i][:] = a[i][:] . across for `n` <= ROWS rows: (n, d) by (d, P) to (n, P) */
static inline void times_across(const float *a, int64_t stride, int n, const float *across, int P,
                                int d, float *out) {
    const float *row[ROWS];
    for (int i = 0; i < ROWS; i++) row[i] = a + (i < n ? i : 0) * stride;
    for (int j = 0; j < P; j += LANES) {
        vec s[ROWS] = {{0}};
        for (int c = 0; c < d; c++) {
            vec b = load(across + c * P + j);
            for (int i = 0; i < ROWS; i++) s[i] += row[i][c] * b;
        }
        for (int i = 0; i < n; i++) store(out + i * P + j, s[i]);
    }
}

/* out[i][:] = sum over j of a[i * down + j * along] * rows[j][:] for `n` <= ROWS rows i */
static inline void times_rows(const float *a, int64_t down, int64_t along, int n, const float *rows,
                              int64_t stride, int count, int d, float *out, int64_t out_stride) {
    const float *from[ROWS];
    for (int i = 0; i < ROWS; i++) from[i] = a + (i < n ? i : 0) * down;
    for (int c = 0; c < d; c += LANES) {
        vec s[ROWS] = {{0}};
        for (int j = 0; j < count; j++) {
            vec b = load(rows + j * stride + c);
            for (int i = 0; i < ROWS; i++) s[i] += from[i][j * along] * b;
        }
        for (int i = 0; i < n; i++) store(out + i * out_stride + c, s[i]);
    }
}

static inline void softmax(float *row, int L, int P, float scale) {
    vec top = all(-INFINITY), total = {0};
    for (int j = L; j < P; j++) row[j] = -INFINITY;
    for (int j = 0; j < P; j += LANES) top = larger(load(row + j), top);
    float most = largest(top);
    for (int j = 0; j < P; j += LANES) {
        vec e = exponential((load(row + j) - most) * scale);
        store(row + j, e);
        total += e;
    }
    float inverse = 1.0f / sum(total);
    for (int j = 0; j < P; j += LANES) store(row + j, load(row + j) * inverse);
}

/* qkv (tokens, 3 * heads * d); weights: for each sequence and head L rows of P. */
void attention_forward(const float *qkv, const int64_t *starts, const int64_t *places,
                       int64_t sequences, int heads, int d, float *weights, float *out, float scale,
                       uint64_t seed, uint32_t threshold, float inverse, int longest, int threads) {
    int64_t width = (int64_t)heads * d, stride = 3 * width;
    #pragma omp parallel num_threads(threads)
    {
        int most = (longest + LANES - 1) / LANES * LANES;
        float *across = malloc((size_t)(d + ROWS) * most * sizeof(float)), *dropped = across + d * most;
        #pragma omp for schedule(dynamic, 2)
        for (int64_t task = 0; task < sequences * heads; task++) {
            int64_t s = task / heads, h = task % heads;
            int L = starts[s + 1] - starts[s], P = (L + LANES - 1) / LANES * LANES;
            const float *q = qkv + starts[s] * stride + h * d, *k = q + width, *v = k + width;
            float *weight = weights + places[s] + h * L * P, *o = out + starts[s] * width + h * d;
            turn(k, stride, L, P, d, across);
            for (int i = 0; i < L; i += ROWS) {
                int n = L - i < ROWS ? L - i : ROWS;
                float *w = weight + (int64_t)i * P, *used = w;
                times_across(q + i * stride, stride, n, across, P, d, w);
                for (int r = 0; r < n; r++) softmax(w + r * P, L, P, scale);
                if (threshold) {
                    used = dropped;
                    for (int r = 0; r < n; r++) {
                        key key = key_of(seed, (starts[s] + i + r) * heads + h);
                        for (int j = 0; j < P; j += LANES)
                            store(used + r * P + j,
                                  load(w + r * P + j) * mask(key, j, threshold, inverse));
                    }
                }
                times_rows(used, P, 1, n, v, stride, L, d, o + i * width, width);
            }
        }
        free(across);
    }
}

void attention_backward(const float *grad, const float *qkv, const float *weights,
                        const int64_t *starts, const int64_t *places, int64_t sequences, int heads,
                        int d, float *by_qkv, float scale, uint64_t seed, uint32_t threshold,
                        float inverse, int longest, int threads) {
    int64_t width = (int64_t)heads * d, stride = 3 * width;
    #pragma omp parallel num_threads(threads)
    {
        int most = (longest + LANES - 1) / LANES * LANES;
        float *across = malloc((size_t)(d + 2 * longest) * most * sizeof(float));
        float *used = across + d * most, *by_score = used + (size_t)longest * most;
        #pragma omp for schedule(dynamic, 2)
        for (int64_t task = 0; task < sequences * heads; task++) {
            int64_t s = task / heads, h = task % heads;
            int L = starts[s + 1] - starts[s], P = (L + LANES - 1) / LANES * LANES;
            const float *q = qkv + starts[s] * stride + h * d, *k = q + width, *v = k + width;
            const float *g = grad + starts[s] * width + h * d;
            const float *weight = weights + places[s] + h * L * P;
            float *by_q = by_qkv + starts[s] * stride + h * d, *by_k = by_q + width, *by_v = by_k + width;
            turn(v, stride, L, P, d, across);
            for (int i = 0; i < L; i += ROWS) {
                int n = L - i < ROWS ? L - i : ROWS;
                times_across(g + i * width, width, n, across, P, d, by_score + (int64_t)i * P);
                for (int r = i; r < i + n; r++) {
                    const float *w = weight + (int64_t)r * P;
                    float *b = by_score + (int64_t)r * P, *u = used + (int64_t)r * P;
                    key key = key_of(seed, (starts[s] + r) * heads + h);
                    vec dot = {0};
                    for (int j = 0; j < P; j += LANES) {
                        vec p = load(w + j), kept = all(1.0f);
                        if (threshold) kept = mask(key, j, threshold, inverse);
                        vec e = load(b + j) * kept;
                        store(u + j, p * kept);
                        store(b + j, e);
                        dot += e * p;
                    }
                    float inner = sum(dot);
                    for (int j = 0; j < P; j += LANES)
                        store(b + j, load(w + j) * (load(b + j) - inner) * scale);
                }
                times_rows(by_score + (int64_t)i * P, P, 1, n, k, stride, L, d, by_q + i * stride, stride);
            }
            for (int j = 0; j < L; j += ROWS) {
                int n = L - j < ROWS ? L - j : ROWS;
                times_rows(used + j, 1, P, n, g, width, L, d, by_v + j * stride, stride);
                times_rows(by_score + j, 1, P, n, q, stride, L, d, by_k + j * stride, stride);
            }
        }
        free(across);
    }
}
