// Attention by tiles: scores and weights live in registers and shared memory only, each tile of
// queries keeps the largest score and the sum of exponentials so far (Dao et al.,
// "FlashAttention", arXiv:2205.14135), and the gradients compute the weights again from the sums'
// logarithms. 256 threads make a square tile: thread (ty, tx) has the rows ty, ty + 16, ... and the
// columns tx, tx + 16, ... of it, and the same rows of what is added up along the way.

enum {
#if PRECISION == 64
    ATTENTION_SIDE = 2,
#else
    ATTENTION_SIDE = 4,
#endif
    ATTENTION_TILE = 16 * ATTENTION_SIDE,
    // Rows of the odd length keep columns in different banks.
    ATTENTION_PITCH = ATTENTION_TILE + 1,
    ATTENTION_DEPTH = 16,
    ATTENTION_WIDTH = 128,
    ATTENTION_ACROSS = ATTENTION_WIDTH / 16,
    ATTENTION_STAGE = 2 * ATTENTION_DEPTH * ATTENTION_PITCH > ATTENTION_DEPTH * ATTENTION_WIDTH
                          ? 2 * ATTENTION_DEPTH * ATTENTION_PITCH
                          : ATTENTION_DEPTH * ATTENTION_WIDTH
};

// One head's vectors, `step` elements apart.
struct HeadRows {
    const real *at;
    long long step, count, width;

    __device__ acc value(long long row, long long column) const {
        return row < count && column < width ? get(at, row * step + column) : (acc)0;
    }
};

// Which query may look at which key.
struct Visible {
    const unsigned char *mask;
    long long mask_row, mask_column, queries, keys, causal;

    __device__ bool operator()(long long query, long long key) const {
        return query < queries && key < keys && (!causal || key <= query + keys - queries) &&
               (!mask || mask[query * mask_row + key * mask_column]);
    }
    // The keys that the queries of the tile from `query` on see end here.
    __device__ long long end_of_keys(long long query) const {
        long long last = query + ATTENTION_TILE < queries ? query + ATTENTION_TILE : queries;
        long long end = last + keys - queries;
        return causal && end < keys ? end : keys;
    }
    // The tile of the first query that sees the keys of the tile from `key` on.
    __device__ long long first_query(long long key) const {
        long long first = key - (keys - queries);
        return causal && first > 0 ? first / ATTENTION_TILE * ATTENTION_TILE : 0;
    }
};

// scores = the products of the rows of `a` from a0 on with those of `b` from b0 on.
static __device__ void attention_products(acc (&scores)[ATTENTION_SIDE][ATTENTION_SIDE],
                                          const HeadRows &a, long long a0, const HeadRows &b,
                                          long long b0, acc *stage) {
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
    acc *left = stage, *right = stage + ATTENTION_DEPTH * ATTENTION_PITCH;
#pragma unroll
    for (int i = 0; i < ATTENTION_SIDE; i++)
#pragma unroll
        for (int j = 0; j < ATTENTION_SIDE; j++) scores[i][j] = 0;
    for (long long from = 0; from < a.width; from += ATTENTION_DEPTH) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < ATTENTION_SIDE; i++) {
            int row = ty + 16 * i;
            left[tx * ATTENTION_PITCH + row] = a.value(a0 + row, from + tx);
            right[tx * ATTENTION_PITCH + row] = b.value(b0 + row, from + tx);
        }
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < ATTENTION_DEPTH; k++) {
            acc u[ATTENTION_SIDE], v[ATTENTION_SIDE];
#pragma unroll
            for (int i = 0; i < ATTENTION_SIDE; i++) {
                u[i] = left[k * ATTENTION_PITCH + ty + 16 * i];
                v[i] = right[k * ATTENTION_PITCH + tx + 16 * i];
            }
#pragma unroll
            for (int i = 0; i < ATTENTION_SIDE; i++)
#pragma unroll
                for (int j = 0; j < ATTENTION_SIDE; j++) scores[i][j] += u[i] * v[j];
        }
    }
}

// sums += weights times the rows of `v` from v0 on; the weights are a tile in shared memory.
static __device__ void attention_add(acc (&sums)[ATTENTION_SIDE][ATTENTION_ACROSS],
                                     const acc *weights, const HeadRows &v, long long v0,
                                     acc *stage) {
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
    for (int from = 0; from < ATTENTION_TILE; from += ATTENTION_DEPTH) {
        __syncthreads();
#pragma unroll
        for (int j = 0; j < ATTENTION_ACROSS; j++)
            if (16 * j < v.width)
                stage[ty * ATTENTION_WIDTH + tx + 16 * j] = v.value(v0 + from + ty, tx + 16 * j);
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < ATTENTION_DEPTH; k++) {
            acc u[ATTENTION_SIDE];
#pragma unroll
            for (int i = 0; i < ATTENTION_SIDE; i++)
                u[i] = weights[(ty + 16 * i) * ATTENTION_PITCH + from + k];
#pragma unroll
            for (int j = 0; j < ATTENTION_ACROSS; j++)
                if (16 * j < v.width) {
                    acc one = stage[k * ATTENTION_WIDTH + tx + 16 * j];
#pragma unroll
                    for (int i = 0; i < ATTENTION_SIDE; i++) sums[i][j] += u[i] * one;
                }
        }
    }
}

static __device__ void attention_store(const acc (&sums)[ATTENTION_SIDE][ATTENTION_ACROSS],
                                       real *at, long long step, long long first,
                                       long long count, long long width) {
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
#pragma unroll
    for (int i = 0; i < ATTENTION_SIDE; i++)
#pragma unroll
        for (int j = 0; j < ATTENTION_ACROSS; j++) {
            long long row = first + ty + 16 * i, column = tx + 16 * j;
            if (row < count && column < width) put(at, row * step + column, sums[i][j]);
        }
}

// Each array has the distances of its samples (_n), heads (_h) and vectors (_t). A block makes one
// tile of queries of one head; `logs` (N, h, T) gets the logarithms of the sums of exponentials,
// infinity where a query sees nothing.
extern "C" __global__ void __launch_bounds__(256) attention_forward(
    const real *q, const real *k, const real *v, const unsigned char *mask, real *out, acc *logs,
    long long q_n, long long q_h, long long q_t, long long k_n, long long k_h, long long k_t,
    long long v_n, long long v_h, long long v_t, long long out_n, long long out_h,
    long long out_t, long long mask_n, long long mask_h, long long mask_t, long long mask_s,
    long long heads, long long queries, long long keys, long long width, long long value_width,
    long long causal, double scale) {
    __shared__ acc stage[ATTENTION_STAGE], weights[ATTENTION_TILE * ATTENTION_PITCH];
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
    const long long tiles = (queries + ATTENTION_TILE - 1) / ATTENTION_TILE;
    const long long first = blockIdx.x % tiles * ATTENTION_TILE, both = blockIdx.x / tiles;
    const long long n = both / heads, h = both % heads;
    const HeadRows q_rows = {q + n * q_n + h * q_h, q_t, queries, width};
    const HeadRows k_rows = {k + n * k_n + h * k_h, k_t, keys, width};
    const HeadRows v_rows = {v + n * v_n + h * v_h, v_t, keys, value_width};
    const Visible visible = {mask ? mask + n * mask_n + h * mask_h : mask, mask_t, mask_s, queries,
                             keys, causal};

    acc scores[ATTENTION_SIDE][ATTENTION_SIDE], sums[ATTENTION_SIDE][ATTENTION_ACROSS] = {};
    acc top[ATTENTION_SIDE], total[ATTENTION_SIDE];
#pragma unroll
    for (int i = 0; i < ATTENTION_SIDE; i++) top[i] = -INFINITE, total[i] = 0;

    const long long end = visible.end_of_keys(first);
    for (long long key = 0; key < end; key += ATTENTION_TILE) {
        attention_products(scores, q_rows, first, k_rows, key, stage);
#pragma unroll
        for (int i = 0; i < ATTENTION_SIDE; i++) {
            acc now = top[i];
#pragma unroll
            for (int j = 0; j < ATTENTION_SIDE; j++) {
                bool seen = visible(first + ty + 16 * i, key + tx + 16 * j);
                scores[i][j] = seen ? scores[i][j] * (acc)scale : -INFINITE;
                now = larger(now, scores[i][j]);
            }
            for (int offset = 8; offset; offset >>= 1)
                now = larger(now, __shfl_xor_sync(0xFFFFFFFFu, now, offset));
            // Before anything is seen every exponential has to be 0.
            acc origin = now == -INFINITE ? (acc)0 : now;
            acc shrink = exp(top[i] - origin);
            top[i] = now;
            total[i] *= shrink;
#pragma unroll
            for (int j = 0; j < ATTENTION_SIDE; j++) {
                acc weight = exp(scores[i][j] - origin);
                total[i] += weight;
                weights[(ty + 16 * i) * ATTENTION_PITCH + tx + 16 * j] = weight;
            }
#pragma unroll
            for (int j = 0; j < ATTENTION_ACROSS; j++) sums[i][j] *= shrink;
        }
        attention_add(sums, weights, v_rows, key, stage);
    }
#pragma unroll
    for (int i = 0; i < ATTENTION_SIDE; i++) {
        acc whole = total[i];
        for (int offset = 8; offset; offset >>= 1)
            whole += __shfl_xor_sync(0xFFFFFFFFu, whole, offset);
        acc factor = whole == 0 ? (acc)0 : (acc)1 / whole;
#pragma unroll
        for (int j = 0; j < ATTENTION_ACROSS; j++) sums[i][j] *= factor;
        long long query = first + ty + 16 * i;
        if (tx == 0 && query < queries)
            logs[both * queries + query] = whole == 0 ? INFINITE : top[i] + log(whole);
    }
    attention_store(sums, out + n * out_n + h * out_h, out_t, first, queries, value_width);
}

// sum(gout out) of each query, (N, h, T): a warp for each.
extern "C" __global__ void attention_shares(const real *gout, const real *out, acc *shares,
                                            long long g_n, long long g_h, long long g_t,
                                            long long rows, long long heads, long long queries,
                                            long long width) {
    long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    long long t = row % queries, h = row / queries % heads, n = row / queries / heads;
    long long at = n * g_n + h * g_h + t * g_t;
    acc sum = 0;
    for (long long e = threadIdx.x; e < width; e += 32) sum += get(gout, at + e) * get(out, at + e);
    sum = warp_sum(sum);
    if (threadIdx.x == 0) shares[row] = sum;
}

// The gradient of the queries; a block as in the forward pass.
extern "C" __global__ void __launch_bounds__(256) attention_query_gradient(
    const real *gout, const real *q, const real *k, const real *v, const unsigned char *mask,
    const acc *logs, const acc *shares, real *gq, long long g_n, long long g_h, long long g_t,
    long long q_n, long long q_h, long long q_t, long long k_n, long long k_h, long long k_t,
    long long v_n, long long v_h, long long v_t, long long mask_n, long long mask_h,
    long long mask_t, long long mask_s, long long heads, long long queries, long long keys,
    long long width, long long value_width, long long causal, double scale) {
    __shared__ acc stage[ATTENTION_STAGE], weights[ATTENTION_TILE * ATTENTION_PITCH];
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
    const long long tiles = (queries + ATTENTION_TILE - 1) / ATTENTION_TILE;
    const long long first = blockIdx.x % tiles * ATTENTION_TILE, both = blockIdx.x / tiles;
    const long long n = both / heads, h = both % heads;
    const HeadRows g_rows = {gout + n * g_n + h * g_h, g_t, queries, value_width};
    const HeadRows q_rows = {q + n * q_n + h * q_h, q_t, queries, width};
    const HeadRows k_rows = {k + n * k_n + h * k_h, k_t, keys, width};
    const HeadRows v_rows = {v + n * v_n + h * v_h, v_t, keys, value_width};
    const Visible visible = {mask ? mask + n * mask_n + h * mask_h : mask, mask_t, mask_s, queries,
                             keys, causal};

    acc scores[ATTENTION_SIDE][ATTENTION_SIDE], gweights[ATTENTION_SIDE][ATTENTION_SIDE];
    acc sums[ATTENTION_SIDE][ATTENTION_ACROSS] = {};
    acc log_of[ATTENTION_SIDE], share[ATTENTION_SIDE];
#pragma unroll
    for (int i = 0; i < ATTENTION_SIDE; i++) {
        long long query = first + ty + 16 * i;
        log_of[i] = query < queries ? logs[both * queries + query] : INFINITE;
        share[i] = query < queries ? shares[both * queries + query] : (acc)0;
    }
    const long long end = visible.end_of_keys(first);
    for (long long key = 0; key < end; key += ATTENTION_TILE) {
        attention_products(scores, q_rows, first, k_rows, key, stage);
        attention_products(gweights, g_rows, first, v_rows, key, stage);
#pragma unroll
        for (int i = 0; i < ATTENTION_SIDE; i++)
#pragma unroll
            for (int j = 0; j < ATTENTION_SIDE; j++) {
                acc g = 0;
                if (visible(first + ty + 16 * i, key + tx + 16 * j))
                    g = exp(scores[i][j] * (acc)scale - log_of[i]) * (gweights[i][j] - share[i]);
                weights[(ty + 16 * i) * ATTENTION_PITCH + tx + 16 * j] = g * (acc)scale;
            }
        attention_add(sums, weights, k_rows, key, stage);
    }
    // Queries and their gradients are laid out alike.
    attention_store(sums, gq + n * q_n + h * q_h, q_t, first, queries, width);
}

// The gradients of keys and values: a block makes those of one tile of keys of one head.
extern "C" __global__ void __launch_bounds__(256, 2) attention_key_gradient(
    const real *gout, const real *q, const real *k, const real *v, const unsigned char *mask,
    const acc *logs, const acc *shares, real *gk, real *gv, long long g_n, long long g_h,
    long long g_t, long long q_n, long long q_h, long long q_t, long long k_n, long long k_h,
    long long k_t, long long v_n, long long v_h, long long v_t, long long mask_n, long long mask_h,
    long long mask_t, long long mask_s, long long heads, long long queries, long long keys,
    long long width, long long value_width, long long causal, double scale) {
    __shared__ acc stage[ATTENTION_STAGE], weights[ATTENTION_TILE * ATTENTION_PITCH];
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
    const long long tiles = (keys + ATTENTION_TILE - 1) / ATTENTION_TILE;
    const long long first = blockIdx.x % tiles * ATTENTION_TILE, both = blockIdx.x / tiles;
    const long long n = both / heads, h = both % heads;
    const HeadRows g_rows = {gout + n * g_n + h * g_h, g_t, queries, value_width};
    const HeadRows q_rows = {q + n * q_n + h * q_h, q_t, queries, width};
    const HeadRows k_rows = {k + n * k_n + h * k_h, k_t, keys, width};
    const HeadRows v_rows = {v + n * v_n + h * v_h, v_t, keys, value_width};
    const Visible visible = {mask ? mask + n * mask_n + h * mask_h : mask, mask_t, mask_s, queries,
                             keys, causal};

    acc scores[ATTENTION_SIDE][ATTENTION_SIDE], gweights[ATTENTION_SIDE][ATTENTION_SIDE];
    acc key_sums[ATTENTION_SIDE][ATTENTION_ACROSS] = {};
    acc value_sums[ATTENTION_SIDE][ATTENTION_ACROSS] = {};
    for (long long query = visible.first_query(first); query < queries; query += ATTENTION_TILE) {
        attention_products(scores, k_rows, first, q_rows, query, stage);
        attention_products(gweights, v_rows, first, g_rows, query, stage);
#pragma unroll
        for (int j = 0; j < ATTENTION_SIDE; j++) {
            long long column = query + tx + 16 * j;
            acc log_of = column < queries ? logs[both * queries + column] : INFINITE;
            acc share = column < queries ? shares[both * queries + column] : (acc)0;
#pragma unroll
            for (int i = 0; i < ATTENTION_SIDE; i++) {
                acc weight = 0;
                if (visible(column, first + ty + 16 * i))
                    weight = exp(scores[i][j] * (acc)scale - log_of);
                weights[(ty + 16 * i) * ATTENTION_PITCH + tx + 16 * j] = weight;
                gweights[i][j] = weight * (gweights[i][j] - share) * (acc)scale;
            }
        }
        attention_add(value_sums, weights, g_rows, query, stage);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < ATTENTION_SIDE; i++)
#pragma unroll
            for (int j = 0; j < ATTENTION_SIDE; j++)
                weights[(ty + 16 * i) * ATTENTION_PITCH + tx + 16 * j] = gweights[i][j];
        attention_add(key_sums, weights, q_rows, query, stage);
    }
    attention_store(key_sums, gk + n * k_n + h * k_h, k_t, first, keys, width);
    attention_store(value_sums, gv + n * v_n + h * v_h, v_t, first, keys, value_width);
}

// Softmax over the rows of scores (.., b, c, columns) times a scale, where a mask, whose axes are
// the given elements apart, is true, and where keys are not ahead of queries; y may be the scores.
extern "C" __global__ void masked_softmax(const real *scores, const unsigned char *mask, real *y,
                                          long long rows, long long columns, long long b,
                                          long long c, long long mask_a, long long mask_b,
                                          long long mask_c, long long mask_column,
                                          long long causal, double scale) {
    long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    long long start = row * columns;
    if (mask) mask += row / (b * c) * mask_a + row / c % b * mask_b + row % c * mask_c;
    // Columns that may be seen end here.
    long long end = columns;
    if (causal) {
        end = row % c + 1 + columns - c;
        end = end < 0 ? 0 : end < columns ? end : columns;
    }
    acc top = -INFINITE;
    for (long long i = threadIdx.x; i < end; i += blockDim.x)
        if (!mask || mask[i * mask_column]) top = larger(top, get(scores, start + i) * (acc)scale);
    top = row_max(top);
    bool masked = mask || causal;
    if (masked && !(fabs(top) < INFINITE)) top = 0;
    acc total = 0;
    for (long long i = threadIdx.x; i < end; i += blockDim.x)
        if (!mask || mask[i * mask_column]) total += exp(get(scores, start + i) * (acc)scale - top);
    total = row_sum(total);
    if (masked && total == 0) total = 1;
    for (long long i = threadIdx.x; i < columns; i += blockDim.x) {
        bool seen = i < end && (!mask || mask[i * mask_column]);
        acc e = seen ? exp(get(scores, start + i) * (acc)scale - top) : (acc)0;
        put(y, start + i, e / total);
    }
}

extern "C" __global__ void masked_softmax_backward(const real *gweights, const real *weights,
                                                   real *gscores, long long rows,
                                                   long long columns) {
    long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    long long start = row * columns;
    acc dot = 0;
    for (long long i = threadIdx.x; i < columns; i += blockDim.x)
        dot += get(gweights, start + i) * get(weights, start + i);
    dot = row_sum(dot);
    for (long long i = threadIdx.x; i < columns; i += blockDim.x)
        put(gscores, start + i, get(weights, start + i) * (get(gweights, start + i) - dot));
}

// The gradients of pooling's vectors x (N, T, D) and scores (N, T): a warp or block for a vector.
extern "C" __global__ void attention_pool_backward(const real *gout, const real *x,
                                                   const real *out, const real *weights,
                                                   real *gx, real *gscores, long long rows,
                                                   long long length, long long width) {
    long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    long long start = row * width, sample = row / length * width;
    acc weight = get(weights, row), dot = 0;
    for (long long i = threadIdx.x; i < width; i += blockDim.x) {
        acc g = get(gout, sample + i);
        dot += g * (get(x, start + i) - get(out, sample + i));
        put(gx, start + i, weight * g);
    }
    dot = row_sum(dot);
    if (threadIdx.x == 0) put(gscores, row, weight * dot);
}
