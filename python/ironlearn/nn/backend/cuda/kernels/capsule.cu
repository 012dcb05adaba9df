// Capsules (Sabour et al., "Dynamic routing between capsules", arXiv:1710.09829). A vector is the
// work of `lanes` neighbouring threads, a power of two up to a warp. What rounds of agreement hand
// to each other is kept in `acc`.

static __device__ __forceinline__ acc lanes_sum(acc v, int lanes) {
    for (int offset = lanes / 2; offset; offset >>= 1) v += __shfl_xor_sync(0xFFFFFFFFu, v, offset);
    return v;
}

// What a vector of squared length `square` is multiplied by, and twice that factor's derivative.
struct Squash {
    acc factor, slope;
};
static __device__ __forceinline__ Squash squash_of(acc square) {
    // Keeps the root's slope finite at length 0.
    const acc tiny = (acc)1e-7;
    acc root = sqrt(square + tiny), whole = square + ((acc)1 + tiny);
    return {root / whole, (whole / root - (acc)2 * root) / (whole * whole)};
}

extern "C" __global__ void squash(const real *x, real *y, long long rows, long long width,
                                  long long lanes) {
    long long row = first_element() / lanes, lane = threadIdx.x % lanes, end = row * width + width;
    // All threads of a warp take part in its sums.
    if (row >= rows) end = 0;
    acc square = 0;
    for (long long i = row * width + lane; i < end; i += lanes) square += get(x, i) * get(x, i);
    acc factor = squash_of(lanes_sum(square, (int)lanes)).factor;
    for (long long i = row * width + lane; i < end; i += lanes) put(y, i, get(x, i) * factor);
}

extern "C" __global__ void squash_backward(const real *gy, const real *x, real *gx, long long rows,
                                           long long width, long long lanes) {
    long long row = first_element() / lanes, lane = threadIdx.x % lanes, end = row * width + width;
    if (row >= rows) end = 0;
    acc square = 0, dot = 0;
    for (long long i = row * width + lane; i < end; i += lanes) {
        square += get(x, i) * get(x, i);
        dot += get(gy, i) * get(x, i);
    }
    Squash s = squash_of(lanes_sum(square, (int)lanes));
    dot = lanes_sum(dot, (int)lanes) * s.slope;
    for (long long i = row * width + lane; i < end; i += lanes)
        put(gx, i, get(gy, i) * s.factor + get(x, i) * dot);
}

// A chunk of the inputs of one sample's votes (N, kinds, inputs, width), a block's work.
struct RoutingChunk {
    long long sample, which, first, count, samples, kinds, inputs, width;

    __device__ RoutingChunk(long long kinds_, long long inputs_, long long width_,
                            long long chunk) {
        kinds = kinds_, inputs = inputs_, width = width_;
        long long chunks = (inputs + chunk - 1) / chunk;
        samples = gridDim.x / chunks;
        sample = blockIdx.x / chunks;
        which = blockIdx.x % chunks;
        first = which * chunk;
        count = first + chunk < inputs ? chunk : inputs - first;
    }
    // A pair's place in (N, kinds, inputs).
    __device__ long long pair(long long kind, long long i) const {
        return (sample * kinds + kind) * inputs + first + i;
    }
};

// numbers (kinds, chunk) = the products of the votes with a vector of each kind, (N, kinds, width).
static __device__ void routing_products(const RoutingChunk &c, const real *votes,
                                        const acc *vectors, acc *numbers, long long chunk,
                                        int lanes) {
    int lane = threadIdx.x % lanes, groups = blockDim.x / lanes;
    for (long long from = 0; from < c.kinds * c.count; from += groups) {
        long long p = from + threadIdx.x / lanes, kind = p / c.count, i = p % c.count;
        acc dot = 0;
        if (kind < c.kinds)
            for (long long d = lane; d < c.width; d += lanes)
                dot += get(votes, c.pair(kind, i) * c.width + d) *
                       vectors[(c.sample * c.kinds + kind) * c.width + d];
        dot = lanes_sum(dot, lanes);
        if (lane == 0 && kind < c.kinds) numbers[kind * chunk + i] = dot;
    }
    __syncthreads();
}

// The sums over the chunk of the votes times numbers, into parts (chunks, N, kinds, width).
static __device__ void routing_sums_of(const RoutingChunk &c, const real *votes,
                                       const acc *numbers, acc *parts, long long chunk) {
    __syncthreads();
    for (long long j = threadIdx.x; j < c.kinds * c.width; j += blockDim.x) {
        long long kind = j / c.width, d = j % c.width;
        acc sum = 0;
        for (long long i = 0; i < c.count; i++)
            sum += numbers[kind * chunk + i] * get(votes, c.pair(kind, i) * c.width + d);
        parts[(c.which * c.samples + c.sample) * c.kinds * c.width + j] = sum;
    }
}

// One round: agreement += votes times outs (nothing in the first round), the shares are its
// softmax over the kinds, and the parts of the sums of votes by these shares.
extern "C" __global__ void __launch_bounds__(256) routing_round(
    const real *votes, const acc *outs, acc *agreement, acc *shares, acc *parts, long long kinds,
    long long inputs, long long width, long long chunk, long long lanes, long long round) {
    DYNAMIC_SHARED(acc, numbers);
    const RoutingChunk c(kinds, inputs, width, chunk);
    if (round > 0) routing_products(c, votes, outs, numbers, chunk, (int)lanes);
    for (long long i = threadIdx.x; i < c.count; i += blockDim.x) {
        acc top = -INFINITE, total = 0;
        for (long long kind = 0; kind < kinds; kind++) {
            acc v = round > 0 ? numbers[kind * chunk + i] : (acc)0;
            if (round > 1) v += agreement[c.pair(kind, i)];
            if (round > 0) agreement[c.pair(kind, i)] = v;
            numbers[kind * chunk + i] = v;
            top = larger(top, v);
        }
        for (long long kind = 0; kind < kinds; kind++) {
            acc e = exp(numbers[kind * chunk + i] - top);
            numbers[kind * chunk + i] = e;
            total += e;
        }
        for (long long kind = 0; kind < kinds; kind++) {
            acc share = numbers[kind * chunk + i] / total;
            numbers[kind * chunk + i] = share;
            shares[c.pair(kind, i)] = share;
        }
    }
    routing_sums_of(c, votes, numbers, parts, chunk);
}

// The same backwards, from the gradients of the sums: adds the gradient of the round's agreement
// to that of later rounds (`totals_after`, null in the last round), and sums the votes by it.
extern "C" __global__ void routing_round_backward(const real *votes, const acc *gsums,
                                                  const acc *shares, const acc *totals_after,
                                                  acc *totals, acc *parts, long long kinds,
                                                  long long inputs, long long width,
                                                  long long chunk, long long lanes) {
    DYNAMIC_SHARED(acc, numbers);
    const RoutingChunk c(kinds, inputs, width, chunk);
    routing_products(c, votes, gsums, numbers, chunk, (int)lanes);
    for (long long i = threadIdx.x; i < c.count; i += blockDim.x) {
        acc dot = 0;
        for (long long kind = 0; kind < kinds; kind++)
            dot += numbers[kind * chunk + i] * shares[c.pair(kind, i)];
        for (long long kind = 0; kind < kinds; kind++) {
            long long pair = c.pair(kind, i);
            acc v = shares[pair] * (numbers[kind * chunk + i] - dot);
            if (totals_after) v += totals_after[pair];
            totals[pair] = v;
            numbers[kind * chunk + i] = v;
        }
    }
    routing_sums_of(c, votes, numbers, parts, chunk);
}

// Adds the parts up and squashes the sums; `out` is null but in the last round.
extern "C" __global__ void routing_squash(const acc *parts, acc *sums, acc *outs, real *out,
                                          long long rows, long long width, long long chunks,
                                          long long lanes) {
    long long row = first_element() / lanes, lane = threadIdx.x % lanes, end = row * width + width;
    if (row >= rows) end = 0;
    acc square = 0;
    for (long long i = row * width + lane; i < end; i += lanes) {
        acc sum = 0;
        for (long long k = 0; k < chunks; k++) sum += parts[k * rows * width + i];
        sums[i] = sum;
        square += sum * sum;
    }
    acc factor = squash_of(lanes_sum(square, (int)lanes)).factor;
    for (long long i = row * width + lane; i < end; i += lanes) {
        outs[i] = sums[i] * factor;
        if (out) put(out, i, outs[i]);
    }
}

// The gradient of the sums from that of what they were squashed to: `gout`, or the sum of parts.
extern "C" __global__ void routing_squash_backward(const real *gout, const acc *parts,
                                                   const acc *sums, acc *gsums, long long rows,
                                                   long long width, long long chunks,
                                                   long long lanes) {
    long long row = first_element() / lanes, lane = threadIdx.x % lanes, end = row * width + width;
    if (row >= rows) end = 0;
    acc square = 0, dot = 0;
    for (long long i = row * width + lane; i < end; i += lanes) {
        acc g = gout ? get(gout, i) : (acc)0;
        if (!gout)
            for (long long k = 0; k < chunks; k++) g += parts[k * rows * width + i];
        gsums[i] = g;
        square += sums[i] * sums[i];
        dot += g * sums[i];
    }
    Squash s = squash_of(lanes_sum(square, (int)lanes));
    dot = lanes_sum(dot, (int)lanes) * s.slope;
    for (long long i = row * width + lane; i < end; i += lanes)
        gsums[i] = gsums[i] * s.factor + sums[i] * dot;
}

// The votes' gradient, of all rounds at once: shares times gradients of the sums, and gradients of
// the agreement times the outputs it was with. `pairs` and `vectors` are the sizes of a round's.
extern "C" __global__ void routing_votes_gradient(const acc *shares, const acc *gsums,
                                                  const acc *totals, const acc *outs, real *gvotes,
                                                  long long pairs, long long vectors,
                                                  long long inputs, long long width,
                                                  long long rounds, long long lanes) {
    long long lane = threadIdx.x % lanes, step = stride_of_grid() / lanes;
    for (long long pair = first_element() / lanes; pair < pairs; pair += step) {
        long long vector = pair / inputs * width;
        for (long long d = lane; d < width; d += lanes) {
            acc g = 0;
            for (long long r = 0; r < rounds; r++) {
                g += shares[r * pairs + pair] * gsums[r * vectors + vector + d];
                if (r + 1 < rounds)
                    g += totals[r * pairs + pair] * outs[r * vectors + vector + d];
            }
            put(gvotes, pair * width + d, g);
        }
    }
}
