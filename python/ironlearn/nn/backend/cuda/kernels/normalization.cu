// Normalization by the statistics of a layer, a group or a batch, and its gradients.
//
// An array (rows, channels) is normalized in sets that share their statistics. Layers and groups
// have a set for each sample's `width` neighbouring channels over `cells` rows: a warp or a block
// takes one. A batch has a set for each channel over all rows, a column: columns are added up in
// two stages, first chunks of rows, then the chunks.

// Walks over a set's elements, the threads of a row of the block (x) one after the other.
struct SetWalk {
    long long i, count, channel, at, width, channels, end, step_channel, step_at;

    __device__ SetWalk(long long set, long long cells, long long channels_, long long groups) {
        channels = channels_;
        width = channels / groups;
        count = cells * width;
        i = threadIdx.x;
        long long first = (set / groups) * cells * channels, offset = set % groups * width;
        long long cell = i / width;
        channel = offset + i % width;
        at = first + cell * channels + channel;
        end = offset + width;
        step_channel = blockDim.x % width;
        step_at = blockDim.x / width * channels + step_channel;
    }
    __device__ bool more() const { return i < count; }
    __device__ void next() {
        i += blockDim.x;
        channel += step_channel;
        at += step_at;
        if (channel >= end) {
            channel -= width;
            at += channels - width;
        }
    }
};

extern "C" __global__ void norm_sets(const real *x, const real *residual, const real *gamma,
                                     const real *beta, real *total, real *y, real *mean,
                                     real *rstd, long long sets, long long cells,
                                     long long channels, long long groups, double eps) {
    long long set = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (set >= sets) return;
    const SetWalk begin(set, cells, channels, groups);
    acc sum = 0;
    for (SetWalk w = begin; w.more(); w.next()) {
        acc v = get(x, w.at);
        if (residual) {
            // What follows sees the sum as it is stored.
            put(total, w.at, v + get(residual, w.at));
            v = get(total, w.at);
        }
        sum += v;
    }
    const real *from = residual ? total : x;
    acc centre = row_sum(sum) / (acc)begin.count, squares = 0;
    for (SetWalk w = begin; w.more(); w.next()) {
        acc v = get(from, w.at) - centre;
        squares += v * v;
    }
    acc scale = (acc)1 / sqrt(row_sum(squares) / (acc)begin.count + (acc)eps);
    for (SetWalk w = begin; w.more(); w.next()) {
        acc unit = (get(from, w.at) - centre) * scale;
        put(y, w.at, unit * get(gamma, w.channel) + get(beta, w.channel));
    }
    if (threadIdx.x == 0) {
        put(mean, set, centre);
        put(rstd, set, scale);
    }
}

extern "C" __global__ void norm_sets_backward(const real *gy, const real *gtotal, const real *x,
                                              const real *gamma, const real *mean,
                                              const real *rstd, real *gx, long long sets,
                                              long long cells, long long channels,
                                              long long groups) {
    long long set = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (set >= sets) return;
    const SetWalk begin(set, cells, channels, groups);
    acc centre = get(mean, set), scale = get(rstd, set), sum = 0, dot = 0;
    for (SetWalk w = begin; w.more(); w.next()) {
        acc g = get(gy, w.at) * get(gamma, w.channel);
        sum += g;
        dot += g * ((get(x, w.at) - centre) * scale);
    }
    sum = row_sum(sum) / (acc)begin.count;
    dot = row_sum(dot) / (acc)begin.count;
    for (SetWalk w = begin; w.more(); w.next()) {
        acc g = get(gy, w.at) * get(gamma, w.channel);
        acc v = (g - sum - (get(x, w.at) - centre) * scale * dot) * scale;
        put(gx, w.at, gtotal ? v + get(gtotal, w.at) : v);
    }
}

// Adds the parts of the threads of a column (those of one threadIdx.x) up; blockDim.y is a power
// of two and a block has 256 threads. The answer is right in the threads of threadIdx.y 0.
static __device__ acc column_sum(acc v) {
    __shared__ acc part[256];
    int me = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();
    part[me] = v;
    for (int half = blockDim.y / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) part[me] += part[me + half * blockDim.x];
    }
    return part[me];
}

// 1 / sqrt(variance + eps), or what is given as such.
static __device__ __forceinline__ acc reciprocal_deviation(acc v, long long variance, double eps) {
    return variance ? (acc)1 / sqrt(v + (acc)eps) : v;
}

// First stage of the parameters' gradients, sum(g unit) and sum(g) of each channel: block
// (column tile, chunk) writes (chunks, channels). `set_rows` rows share the statistics of each of
// `groups` groups of channels. y is null where no activation follows.
extern "C" __global__ void norm_parameters(const real *gy, const real *y, const real *x,
                                           const real *mean, const real *spread, acc *part_gamma,
                                           acc *part_beta, long long rows, long long channels,
                                           long long chunk, long long set_rows, long long groups,
                                           long long variance, double eps, long long kind) {
    long long c = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    acc ggamma = 0, gbeta = 0;
    if (c < channels) {
        long long group = c / (channels / groups);
        long long first = blockIdx.y * chunk;
        long long last = first + chunk < rows ? first + chunk : rows;
        bool by_column = set_rows == rows;
        acc centre = 0, scale = 0;
        if (by_column) {
            centre = get(mean, group);
            scale = reciprocal_deviation(get(spread, group), variance, eps);
        }
        for (long long r = first + threadIdx.y; r < last; r += blockDim.y) {
            long long at = r * channels + c;
            acc g = get(gy, at);
            if (y) g *= slope_from_output(get(y, at), kind);
            if (!by_column) {
                long long set = (set_rows == 1 ? r : r / set_rows) * groups + group;
                centre = get(mean, set);
                scale = reciprocal_deviation(get(spread, set), variance, eps);
            }
            ggamma += g * ((get(x, at) - centre) * scale);
            gbeta += g;
        }
    }
    ggamma = column_sum(ggamma);
    gbeta = column_sum(gbeta);
    if (threadIdx.y == 0 && c < channels) {
        part_gamma[blockIdx.y * channels + c] = ggamma;
        part_beta[blockIdx.y * channels + c] = gbeta;
    }
}

// Second stage: the sums of both, which also take the place of their first chunk.
extern "C" __global__ void norm_parameters_total(acc *part_gamma, acc *part_beta, real *ggamma,
                                                 real *gbeta, long long chunks,
                                                 long long channels) {
    long long c = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    acc a = 0, b = 0;
    if (c < channels)
        for (long long k = threadIdx.y; k < chunks; k += blockDim.y) {
            a += part_gamma[k * channels + c];
            b += part_beta[k * channels + c];
        }
    a = column_sum(a);
    b = column_sum(b);
    if (threadIdx.y == 0 && c < channels) {
        put(ggamma, c, a);
        put(gbeta, c, b);
        part_gamma[c] = a;
        part_beta[c] = b;
    }
}

// Mean and sum of squared deviations of the elements of two sets, from those of either (Chan,
// Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
// 1979).
struct Moments {
    acc count, mean, squares;
};
static __device__ __forceinline__ Moments joined(Moments a, Moments b) {
    if (b.count == 0) return a;
    if (a.count == 0) return b;
    acc count = a.count + b.count, apart = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + apart * share, a.squares + b.squares + apart * apart * a.count * share};
}
// As `column_sum`.
static __device__ Moments column_moments(Moments v) {
    __shared__ acc count[256], mean[256], squares[256];
    int me = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();
    count[me] = v.count, mean[me] = v.mean, squares[me] = v.squares;
    for (int half = blockDim.y / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) {
            int other = me + half * blockDim.x;
            v = joined(v, {count[other], mean[other], squares[other]});
            count[me] = v.count, mean[me] = v.mean, squares[me] = v.squares;
        }
    }
    return v;
}

extern "C" __global__ void batch_moments(const real *x, acc *part_mean, acc *part_squares,
                                         long long rows, long long channels, long long chunk) {
    long long c = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    Moments m = {0, 0, 0};
    if (c < channels) {
        long long first = blockIdx.y * chunk;
        long long last = first + chunk < rows ? first + chunk : rows;
        // Welford, "Note on a method for calculating corrected sums of squares", 1962.
        for (long long r = first + threadIdx.y; r < last; r += blockDim.y) {
            acc v = get(x, r * channels + c), apart = v - m.mean;
            m.count += 1;
            m.mean += apart / m.count;
            m.squares += apart * (v - m.mean);
        }
    }
    m = column_moments(m);
    if (threadIdx.y == 0 && c < channels) {
        part_mean[blockIdx.y * channels + c] = m.mean;
        part_squares[blockIdx.y * channels + c] = m.squares;
    }
}

// Mean and biased variance, which also take the place of their first chunk.
extern "C" __global__ void batch_moments_total(acc *part_mean, acc *part_squares, real *mean,
                                               real *var, long long rows, long long channels,
                                               long long chunk, long long chunks) {
    long long c = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    Moments m = {0, 0, 0};
    if (c < channels)
        for (long long k = threadIdx.y; k < chunks; k += blockDim.y) {
            long long count = rows - k * chunk < chunk ? rows - k * chunk : chunk;
            m = joined(m, {(acc)count, part_mean[k * channels + c], part_squares[k * channels + c]});
        }
    m = column_moments(m);
    if (threadIdx.y == 0 && c < channels) {
        acc spread = m.squares / m.count;
        put(mean, c, m.mean);
        put(var, c, spread);
        part_mean[c] = m.mean;
        part_squares[c] = spread;
    }
}

// Elements one after the other, and the channel of each.
struct ChannelWalk {
    long long i, n, channel, channels, step, step_channel;

    __device__ ChannelWalk(long long n_, long long channels_) {
        n = n_, channels = channels_;
        i = first_element(), step = stride_of_grid();
        channel = i % channels, step_channel = step % channels;
    }
    __device__ bool more() const { return i < n; }
    __device__ void next() {
        i += step;
        channel += step_channel;
        if (channel >= channels) channel -= channels;
    }
};

extern "C" __global__ void batch_norm_training(const real *x, const real *gamma, const real *beta,
                                               const acc *mean, const acc *var, real *y,
                                               long long n, long long channels, double eps,
                                               long long kind) {
    for (ChannelWalk w(n, channels); w.more(); w.next()) {
        long long c = w.channel;
        acc factor = get(gamma, c) / sqrt(var[c] + (acc)eps);
        put(y, w.i, activate((get(x, w.i) - mean[c]) * factor + get(beta, c), kind));
    }
}

extern "C" __global__ void batch_norm_inference(const real *x, const real *gamma,
                                                const real *beta, const real *mean,
                                                const real *var, real *y, long long n,
                                                long long channels, double eps, long long kind) {
    for (ChannelWalk w(n, channels); w.more(); w.next()) {
        long long c = w.channel;
        acc factor = get(gamma, c) / sqrt(get(var, c) + (acc)eps);
        put(y, w.i, activate((get(x, w.i) - get(mean, c)) * factor + get(beta, c), kind));
    }
}

// The input's gradient; the sums are null where the statistics were given and do not depend on it.
extern "C" __global__ void batch_norm_input_gradient(const real *gy, const real *y, const real *x,
                                                     const real *gamma, const real *mean,
                                                     const real *var, const acc *ggamma,
                                                     const acc *gbeta, real *gx, long long n,
                                                     long long channels, double eps,
                                                     long long kind) {
    acc share = (acc)1 / (acc)(n / channels);
    for (ChannelWalk w(n, channels); w.more(); w.next()) {
        long long c = w.channel;
        acc g = get(gy, w.i), scale = (acc)1 / sqrt(get(var, c) + (acc)eps);
        if (y) g *= slope_from_output(get(y, w.i), kind);
        if (ggamma) {
            acc unit = (get(x, w.i) - get(mean, c)) * scale;
            g -= (gbeta[c] + unit * ggamma[c]) * share;
        }
        put(gx, w.i, g * (get(gamma, c) * scale));
    }
}
