// Recurrent layers. A `Unit` says what one unit of a layer does in one step and how gradients pass
// back through it; two kinds of kernels call it: those of one step, between which the products with
// the state are cuBLAS's, and walks over a whole sequence, which do the products themselves.
//
// Arrays are (N, T, ...) in C order; `at` numbers a sample's step, n T + t. A step is taken where
// there is no mask or it is true; elsewhere the state stays and y repeats it.

struct LstmUnit {
    // Sums that a unit has, numbers that its backward needs, and whether the sums of the input and
    // of the state are needed one by one.
    static const int SUMS = 4, KEPT = 4;
    static const bool APART = false;
    static __device__ __forceinline__ void forward(const acc *x, const acc *, long long, acc &h,
                                                   acc &c, acc *kept) {
        acc i = sigmoid_of(x[0]), f = sigmoid_of(x[1]), g = tanh(x[2]), o = sigmoid_of(x[3]);
        c = f * c + i * g;
        h = o * tanh(c);
        kept[0] = i;
        kept[1] = f;
        kept[2] = g;
        kept[3] = o;
    }
    // `after` and `before` are the cell state's; dh becomes what passes the step by.
    static __device__ __forceinline__ void backward(const acc *kept, acc after, acc before,
                                                    long long, acc &dh, acc &dc, acc *of_x,
                                                    acc *of_h) {
        acc i = kept[0], f = kept[1], g = kept[2], o = kept[3], squashed = tanh(after);
        acc d = dc + dh * o * ((acc)1 - squashed * squashed);
        of_x[0] = of_h[0] = d * g * i * ((acc)1 - i);
        of_x[1] = of_h[1] = d * before * f * ((acc)1 - f);
        of_x[2] = of_h[2] = d * i * ((acc)1 - g * g);
        of_x[3] = of_h[3] = dh * squashed * o * ((acc)1 - o);
        dc = d * f;
        dh = 0;
    }
};

struct GruUnit {
    static const int SUMS = 3, KEPT = 4;
    static const bool APART = true;
    static __device__ __forceinline__ void forward(const acc *x, const acc *s, long long, acc &h,
                                                   acc &, acc *kept) {
        acc z = sigmoid_of(x[0] + s[0]), r = sigmoid_of(x[1] + s[1]);
        acc candidate = tanh(x[2] + r * s[2]);
        h = ((acc)1 - z) * candidate + z * h;
        kept[0] = z;
        kept[1] = r;
        kept[2] = candidate;
        kept[3] = s[2];
    }
    // `before` is the state's.
    static __device__ __forceinline__ void backward(const acc *kept, acc, acc before, long long,
                                                    acc &dh, acc &, acc *of_x, acc *of_h) {
        acc z = kept[0], r = kept[1], candidate = kept[2];
        acc dn = dh * ((acc)1 - z) * ((acc)1 - candidate * candidate);
        of_x[0] = of_h[0] = dh * (before - candidate) * z * ((acc)1 - z);
        of_x[1] = of_h[1] = dn * kept[3] * r * ((acc)1 - r);
        of_x[2] = dn;
        of_h[2] = dn * r;
        dh *= z;
    }
};

struct RnnUnit {
    static const int SUMS = 1, KEPT = 0;
    static const bool APART = false;
    static __device__ __forceinline__ void forward(const acc *x, const acc *, long long kind,
                                                   acc &h, acc &, acc *) {
        h = activate(x[0], kind);
    }
    // `after` is the state's.
    static __device__ __forceinline__ void backward(const acc *, acc after, acc, long long kind,
                                                    acc &dh, acc &, acc *of_x, acc *of_h) {
        of_x[0] = of_h[0] = dh * slope_from_output(after, kind);
        dh = 0;
    }
};

// One unit's step, and what is written of it.
template <class Unit>
static __device__ __forceinline__ void recurrent_ahead(bool taken, const acc *x, const acc *s,
                                                       long long kind, acc &h, acc &c, real *y,
                                                       real *gates, real *cells, long long at,
                                                       long long k, long long units) {
    acc kept[Unit::KEPT + 1];
    for (int p = 0; p < Unit::KEPT; p++) kept[p] = 0;
    if (taken) Unit::forward(x, s, kind, h, c, kept);
    put(y, at * units + k, h);
    if (gates)
        for (int p = 0; p < Unit::KEPT; p++) put(gates, (at * Unit::KEPT + p) * units + k, kept[p]);
    if (cells) put(cells, at * units + k, c);
}

// One unit's step back. `states` are the states after each step that the unit's backward asks for,
// `first` that before all of them.
template <class Unit>
static __device__ __forceinline__ void
recurrent_back(bool taken, const real *states, const real *first, const real *gates, acc &dh,
               acc &dc, acc *of_x, acc *of_h, long long sample, long long at, long long t,
               long long steps, long long reverse, long long k, long long units, long long kind) {
    if (!taken) {
        for (int p = 0; p < Unit::SUMS; p++) of_x[p] = of_h[p] = 0;
        return;
    }
    acc kept[Unit::KEPT + 1];
    for (int p = 0; p < Unit::KEPT; p++) kept[p] = get(gates, (at * Unit::KEPT + p) * units + k);
    bool is_first = reverse ? t == steps - 1 : t == 0;
    acc before = is_first ? get(first, sample * units + k)
                          : get(states, (at + (reverse ? 1 : -1)) * units + k);
    Unit::backward(kept, get(states, at * units + k), before, kind, dh, dc, of_x, of_h);
}

// One step of all samples: zx = x w (N, T, SUMS H) and hu = h u (N, SUMS H) are given. The state is
// kept in `acc`, and once more as the next product takes it.
template <class Unit>
static __device__ void recurrent_step(const real *zx, const real *hu, const real *b,
                                      const real *bu, const bool *mask, acc *h, acc *c,
                                      real *rounded, real *y, real *gates, real *cells, long long n,
                                      long long steps, long long t, long long units,
                                      long long kind) {
    for (long long i = first_element(); i < n * units; i += stride_of_grid()) {
        long long sample = i / units, k = i - sample * units, at = sample * steps + t;
        acc x[Unit::SUMS], s[Unit::SUMS];
        for (int p = 0; p < Unit::SUMS; p++) {
            long long column = p * units + k;
            x[p] = get(zx, at * Unit::SUMS * units + column) + get(b, column);
            s[p] = get(hu, sample * Unit::SUMS * units + column);
            if (Unit::APART)
                s[p] += get(bu, column);
            else
                x[p] += s[p];
        }
        acc state = h[i], cell = c ? c[i] : (acc)0;
        recurrent_ahead<Unit>(!mask || mask[at], x, s, kind, state, cell, y, gates, cells, at, k,
                              units);
        h[i] = state;
        put(rounded, i, state);
        if (c) c[i] = cell;
    }
}

// One step back of all samples. `product` (N, H) is what came back through the product of the step
// before, nothing at the first; `kept` what passed that step by. Of the gradients of the sums, those
// of x w go to gx (N, T, SUMS H), those of h u to gs, if they differ, and to dz (N, SUMS H).
template <class Unit>
static __device__ void
recurrent_step_back(const real *gy, const real *product, const real *states, const real *first,
                    const real *gates, const bool *mask, acc *kept, acc *dc, real *gx, real *gs,
                    real *dz, long long n, long long steps, long long t, long long reverse,
                    long long units, long long kind) {
    for (long long i = first_element(); i < n * units; i += stride_of_grid()) {
        long long sample = i / units, k = i - sample * units, at = sample * steps + t;
        acc of_x[Unit::SUMS], of_h[Unit::SUMS];
        acc dh = kept[i], d = dc ? dc[i] : (acc)0;
        if (product) dh += get(product, i);
        if (gy) dh += get(gy, at * units + k);
        recurrent_back<Unit>(!mask || mask[at], states, first, gates, dh, d, of_x, of_h, sample, at,
                             t, steps, reverse, k, units, kind);
        kept[i] = dh;
        if (dc) dc[i] = d;
        for (int p = 0; p < Unit::SUMS; p++) {
            long long column = p * units + k;
            put(gx, at * Unit::SUMS * units + column, of_x[p]);
            put(dz, sample * Unit::SUMS * units + column, of_h[p]);
            if (Unit::APART) put(gs, at * Unit::SUMS * units + column, of_h[p]);
        }
    }
}

// A block walks all steps of S samples. Their states stay in shared memory, and so does u where it
// is `near`; else it is read from the second-level cache once a step. A thread has a column of u,
// its neighbour the next one, and each number of u serves S samples.
template <class Unit, int S>
static __device__ void recurrent_walk(const real *zx, const real *u, const real *b, const real *bu,
                                      const bool *mask, const real *h0, const real *c0, real *y,
                                      real *gates, real *cells, real *h_last, real *c_last,
                                      long long n, long long steps, int units, long long reverse,
                                      long long kind, long long near) {
    DYNAMIC_SHARED(acc, room);
    const int columns = Unit::SUMS * units;
    acc *h = room, *c = h + S * units, *of_h = c + S * units;
    acc *of_x = Unit::APART ? of_h + S * columns : of_h;
    const long long first = (long long)blockIdx.x * S;
    if (near) {
        real *copy = (real *)(of_x + S * columns);
        for (int i = threadIdx.x; i < units * columns; i += blockDim.x) copy[i] = u[i];
        u = copy;
    }
    for (int i = threadIdx.x; i < S * units; i += blockDim.x) {
        bool there = first + i / units < n;
        h[i] = there ? get(h0, first * units + i) : (acc)0;
        c[i] = there && c0 ? get(c0, first * units + i) : (acc)0;
    }
    __syncthreads();
    for (long long step = 0; step < steps; step++) {
        long long t = reverse ? steps - 1 - step : step;
        for (int column = threadIdx.x; column < columns; column += blockDim.x) {
            // Asked for before the product, so that it arrives meanwhile.
            acc x[S], sum[S];
            for (int s = 0; s < S; s++) {
                long long at = (first + s) * steps + t;
                x[s] = first + s < n ? get(zx, at * columns + column) + get(b, column) : (acc)0;
                sum[s] = Unit::APART ? get(bu, column) : (acc)0;
            }
            for (int k = 0; k < units; k++) {
                acc weight = get(u, (long long)k * columns + column);
                for (int s = 0; s < S; s++) sum[s] += h[s * units + k] * weight;
            }
            for (int s = 0; s < S; s++) {
                of_h[s * columns + column] = Unit::APART ? sum[s] : x[s] + sum[s];
                if (Unit::APART) of_x[s * columns + column] = x[s];
            }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < S * units; i += blockDim.x) {
            int s = i / units, k = i - s * units;
            if (first + s >= n) continue;
            long long at = (first + s) * steps + t;
            acc x[Unit::SUMS], sums[Unit::SUMS];
            for (int p = 0; p < Unit::SUMS; p++) {
                x[p] = of_x[s * columns + p * units + k];
                sums[p] = of_h[s * columns + p * units + k];
            }
            acc state = h[i], cell = c[i];
            recurrent_ahead<Unit>(!mask || mask[at], x, sums, kind, state, cell, y, gates, cells,
                                  at, k, units);
            h[i] = state;
            c[i] = cell;
        }
        __syncthreads();
    }
    for (int i = threadIdx.x; i < S * units; i += blockDim.x) {
        if (first + i / units >= n) continue;
        put(h_last, first * units + i, h[i]);
        if (c_last) put(c_last, first * units + i, c[i]);
    }
}

// The walk back. `ut` is u transposed: of the SUMS H numbers that add up to a unit's gradient, a
// thread adds up those of one of the sums, and the next step adds up the parts.
template <class Unit, int S>
static __device__ void
recurrent_walk_back(const real *gy, const real *gh, const real *gc, const real *ut,
                    const real *states, const real *before, const real *gates, const bool *mask,
                    real *gx, real *gs, real *gh0, real *gc0, long long n, long long steps,
                    int units, long long reverse, long long kind, long long near) {
    DYNAMIC_SHARED(acc, room);
    const int columns = Unit::SUMS * units;
    acc *kept = room, *dc = kept + S * units, *dz = dc + S * units, *part = dz + S * columns;
    const long long first = (long long)blockIdx.x * S;
    if (near) {
        real *copy = (real *)(part + S * columns);
        for (int i = threadIdx.x; i < units * columns; i += blockDim.x) copy[i] = ut[i];
        ut = copy;
    }
    for (int i = threadIdx.x; i < S * units; i += blockDim.x) {
        bool there = first + i / units < n;
        kept[i] = there && gh ? get(gh, first * units + i) : (acc)0;
        dc[i] = there && gc ? get(gc, first * units + i) : (acc)0;
    }
    for (int i = threadIdx.x; i < S * columns; i += blockDim.x) dz[i] = part[i] = 0;
    __syncthreads();
    for (long long step = 0; step < steps; step++) {
        long long t = reverse ? step : steps - 1 - step;
        for (int i = threadIdx.x; i < S * units; i += blockDim.x) {
            int s = i / units, k = i - s * units;
            if (first + s >= n) continue;
            long long at = (first + s) * steps + t;
            acc of_x[Unit::SUMS], of_h[Unit::SUMS];
            acc dh = kept[i], d = dc[i];
            for (int p = 0; p < Unit::SUMS; p++) dh += part[s * columns + p * units + k];
            if (gy) dh += get(gy, at * units + k);
            recurrent_back<Unit>(!mask || mask[at], states, before, gates, dh, d, of_x, of_h,
                                 first + s, at, t, steps, reverse, k, units, kind);
            kept[i] = dh;
            dc[i] = d;
            for (int p = 0; p < Unit::SUMS; p++) {
                dz[s * columns + p * units + k] = of_h[p];
                put(gx, at * columns + p * units + k, of_x[p]);
                if (Unit::APART) put(gs, at * columns + p * units + k, of_h[p]);
            }
        }
        __syncthreads();
        for (int column = threadIdx.x; column < columns; column += blockDim.x) {
            int p = column / units, k = column - p * units;
            acc sum[S];
            for (int s = 0; s < S; s++) sum[s] = 0;
            for (int j = 0; j < units; j++) {
                acc weight = get(ut, ((long long)p * units + j) * units + k);
                for (int s = 0; s < S; s++) sum[s] += dz[s * columns + p * units + j] * weight;
            }
            for (int s = 0; s < S; s++) part[s * columns + column] = sum[s];
        }
        __syncthreads();
    }
    for (int i = threadIdx.x; i < S * units; i += blockDim.x) {
        int s = i / units, k = i - s * units;
        if (first + s >= n) continue;
        acc dh = kept[i];
        for (int p = 0; p < Unit::SUMS; p++) dh += part[s * columns + p * units + k];
        put(gh0, first * units + i, dh);
        if (gc0) put(gc0, first * units + i, dc[i]);
    }
}

// The gradient of the first state after the last step back: what passed that step by, and what
// came back through its product.
extern "C" __global__ void recurrent_rest(const acc *kept, const real *product, real *out,
                                          long long n) {
    for (long long i = first_element(); i < n; i += stride_of_grid())
        put(out, i, kept[i] + (product ? get(product, i) : (acc)0));
}

extern "C" __global__ void lstm_step(
    const real *zx, const real *hu, const real *b, const real *bu, const bool *mask, acc *h, acc *c,
    real *rounded, real *y, real *gates, real *cells, long long n, long long steps, long long t,
    long long units, long long kind) {
    recurrent_step<LstmUnit>(
        zx, hu, b, bu, mask, h, c, rounded, y, gates, cells, n, steps, t, units, kind);
}

extern "C" __global__ void lstm_step_backward(
    const real *gy, const real *product, const real *states, const real *first, const real *gates,
    const bool *mask, acc *kept, acc *dc, real *gx, real *gs, real *dz, long long n,
    long long steps, long long t, long long reverse, long long units, long long kind) {
    recurrent_step_back<LstmUnit>(
        gy, product, states, first, gates, mask, kept, dc, gx, gs, dz, n, steps, t, reverse,
        units, kind);
}

extern "C" __global__ void __launch_bounds__(512) lstm_walk(
    const real *zx, const real *u, const real *b, const real *bu, const bool *mask, const real *h0,
    const real *c0, real *y, real *gates, real *cells, real *h_last, real *c_last, long long n,
    long long steps, long long units, long long reverse, long long kind, long long near,
    long long samples) {
    if (samples == 1)
        recurrent_walk<LstmUnit, 1>(
            zx, u, b, bu, mask, h0, c0, y, gates, cells, h_last, c_last, n, steps, (int)units,
            reverse, kind, near);
    else
        recurrent_walk<LstmUnit, 4>(
            zx, u, b, bu, mask, h0, c0, y, gates, cells, h_last, c_last, n, steps, (int)units,
            reverse, kind, near);
}

extern "C" __global__ void __launch_bounds__(512) lstm_walk_backward(
    const real *gy, const real *gh, const real *gc, const real *ut, const real *states,
    const real *before, const real *gates, const bool *mask, real *gx, real *gs, real *gh0,
    real *gc0, long long n, long long steps, long long units, long long reverse, long long kind,
    long long near, long long samples) {
    if (samples == 1)
        recurrent_walk_back<LstmUnit, 1>(
            gy, gh, gc, ut, states, before, gates, mask, gx, gs, gh0, gc0, n, steps, (int)units,
            reverse, kind, near);
    else
        recurrent_walk_back<LstmUnit, 4>(
            gy, gh, gc, ut, states, before, gates, mask, gx, gs, gh0, gc0, n, steps, (int)units,
            reverse, kind, near);
}

extern "C" __global__ void gru_step(
    const real *zx, const real *hu, const real *b, const real *bu, const bool *mask, acc *h, acc *c,
    real *rounded, real *y, real *gates, real *cells, long long n, long long steps, long long t,
    long long units, long long kind) {
    recurrent_step<GruUnit>(
        zx, hu, b, bu, mask, h, c, rounded, y, gates, cells, n, steps, t, units, kind);
}

extern "C" __global__ void gru_step_backward(
    const real *gy, const real *product, const real *states, const real *first, const real *gates,
    const bool *mask, acc *kept, acc *dc, real *gx, real *gs, real *dz, long long n,
    long long steps, long long t, long long reverse, long long units, long long kind) {
    recurrent_step_back<GruUnit>(
        gy, product, states, first, gates, mask, kept, dc, gx, gs, dz, n, steps, t, reverse,
        units, kind);
}

extern "C" __global__ void __launch_bounds__(512) gru_walk(
    const real *zx, const real *u, const real *b, const real *bu, const bool *mask, const real *h0,
    const real *c0, real *y, real *gates, real *cells, real *h_last, real *c_last, long long n,
    long long steps, long long units, long long reverse, long long kind, long long near,
    long long samples) {
    if (samples == 1)
        recurrent_walk<GruUnit, 1>(
            zx, u, b, bu, mask, h0, c0, y, gates, cells, h_last, c_last, n, steps, (int)units,
            reverse, kind, near);
    else
        recurrent_walk<GruUnit, 4>(
            zx, u, b, bu, mask, h0, c0, y, gates, cells, h_last, c_last, n, steps, (int)units,
            reverse, kind, near);
}

extern "C" __global__ void __launch_bounds__(512) gru_walk_backward(
    const real *gy, const real *gh, const real *gc, const real *ut, const real *states,
    const real *before, const real *gates, const bool *mask, real *gx, real *gs, real *gh0,
    real *gc0, long long n, long long steps, long long units, long long reverse, long long kind,
    long long near, long long samples) {
    if (samples == 1)
        recurrent_walk_back<GruUnit, 1>(
            gy, gh, gc, ut, states, before, gates, mask, gx, gs, gh0, gc0, n, steps, (int)units,
            reverse, kind, near);
    else
        recurrent_walk_back<GruUnit, 4>(
            gy, gh, gc, ut, states, before, gates, mask, gx, gs, gh0, gc0, n, steps, (int)units,
            reverse, kind, near);
}

extern "C" __global__ void rnn_step(
    const real *zx, const real *hu, const real *b, const real *bu, const bool *mask, acc *h, acc *c,
    real *rounded, real *y, real *gates, real *cells, long long n, long long steps, long long t,
    long long units, long long kind) {
    recurrent_step<RnnUnit>(
        zx, hu, b, bu, mask, h, c, rounded, y, gates, cells, n, steps, t, units, kind);
}

extern "C" __global__ void rnn_step_backward(
    const real *gy, const real *product, const real *states, const real *first, const real *gates,
    const bool *mask, acc *kept, acc *dc, real *gx, real *gs, real *dz, long long n,
    long long steps, long long t, long long reverse, long long units, long long kind) {
    recurrent_step_back<RnnUnit>(
        gy, product, states, first, gates, mask, kept, dc, gx, gs, dz, n, steps, t, reverse,
        units, kind);
}

extern "C" __global__ void __launch_bounds__(512) rnn_walk(
    const real *zx, const real *u, const real *b, const real *bu, const bool *mask, const real *h0,
    const real *c0, real *y, real *gates, real *cells, real *h_last, real *c_last, long long n,
    long long steps, long long units, long long reverse, long long kind, long long near,
    long long samples) {
    if (samples == 1)
        recurrent_walk<RnnUnit, 1>(
            zx, u, b, bu, mask, h0, c0, y, gates, cells, h_last, c_last, n, steps, (int)units,
            reverse, kind, near);
    else
        recurrent_walk<RnnUnit, 4>(
            zx, u, b, bu, mask, h0, c0, y, gates, cells, h_last, c_last, n, steps, (int)units,
            reverse, kind, near);
}

extern "C" __global__ void __launch_bounds__(512) rnn_walk_backward(
    const real *gy, const real *gh, const real *gc, const real *ut, const real *states,
    const real *before, const real *gates, const bool *mask, real *gx, real *gs, real *gh0,
    real *gc0, long long n, long long steps, long long units, long long reverse, long long kind,
    long long near, long long samples) {
    if (samples == 1)
        recurrent_walk_back<RnnUnit, 1>(
            gy, gh, gc, ut, states, before, gates, mask, gx, gs, gh0, gc0, n, steps, (int)units,
            reverse, kind, near);
    else
        recurrent_walk_back<RnnUnit, 4>(
            gy, gh, gc, ut, states, before, gates, mask, gx, gs, gh0, gc0, n, steps, (int)units,
            reverse, kind, near);
}
