// Softmax over one axis, and losses on logits.
//
// A line is what is normalised: n elements, `inner` apart. A team has a line: one thread where
// inner > 1 (neighbouring threads then have neighbouring lines), a warp for short lines, a whole
// block for long ones.

static __device__ __forceinline__ acc team_sum(acc v, long long team) {
    return team == 1 ? v : team == 32 ? warp_sum(v) : block_sum(v);
}
static __device__ __forceinline__ acc team_max(acc v, long long team) {
    return team == 1 ? v : team == 32 ? warp_max(v) : block_max(v);
}
static __device__ __forceinline__ long long line_start(long long line, long long n,
                                                       long long inner) {
    return inner == 1 ? line * n : line / inner * n * inner + line % inner;
}

// The maximum of a line, and the sum of exponentials of what its elements are below that.
static __device__ void line_mass(const real *x, long long at, long long n, long long inner,
                                 long long lane, long long team, acc *peak, acc *mass) {
    acc most = -INFINITE, sum = 0;
    for (long long j = lane; j < n; j += team) most = larger(most, get(x, at + j * inner));
    most = team_max(most, team);
    for (long long j = lane; j < n; j += team) sum += exp(get(x, at + j * inner) - most);
    *peak = most;
    *mass = team_sum(sum, team);
}

extern "C" __global__ void softmax(const real *x, real *y, long long lines, long long n,
                                   long long inner, long long team, long long logs) {
    long long line = first_element() / team, lane = threadIdx.x % team;
    if (line >= lines) return;
    long long at = line_start(line, n, inner);
    acc peak, mass;
    line_mass(x, at, n, inner, lane, team, &peak, &mass);
    acc scale = logs ? log(mass) : (acc)1 / mass;
    for (long long j = lane; j < n; j += team) {
        acc v = get(x, at + j * inner) - peak;
        put(y, at + j * inner, logs ? v - scale : exp(v) * scale);
    }
}

extern "C" __global__ void softmax_backward(const real *gy, const real *y, real *gx,
                                            long long lines, long long n, long long inner,
                                            long long team, long long logs) {
    long long line = first_element() / team, lane = threadIdx.x % team;
    if (line >= lines) return;
    long long at = line_start(line, n, inner);
    acc sum = 0;
    for (long long j = lane; j < n; j += team) {
        acc g = get(gy, at + j * inner);
        sum += logs ? g : g * get(y, at + j * inner);
    }
    sum = team_sum(sum, team);
    for (long long j = lane; j < n; j += team) {
        acc g = get(gy, at + j * inner), v = get(y, at + j * inner);
        put(gx, at + j * inner, logs ? g - exp(v) * sum : v * (g - sum));
    }
}

// A target below 0 counts from the last class; one that is no class makes the loss a NaN.
extern "C" __global__ void softmax_cross_entropy(const real *logits, const long long *targets,
                                                 real *losses, real *probabilities, long long rows,
                                                 long long classes, long long team,
                                                 double smoothing) {
    long long row = first_element() / team, lane = threadIdx.x % team;
    if (row >= rows) return;
    long long at = row * classes;
    acc peak, mass, below = 0;
    line_mass(logits, at, classes, 1, lane, team, &peak, &mass);
    acc scale = (acc)1 / mass, share = (acc)smoothing;
    for (long long j = lane; j < classes; j += team) {
        acc v = get(logits, at + j) - peak;
        put(probabilities, at + j, exp(v) * scale);
        below += v;
    }
    acc log_mass = log(mass);
    if (smoothing != 0) below = team_sum(below, team);
    if (lane == 0) {
        long long target = targets[row];
        if (target < 0) target += classes;
        acc loss = INFINITE - INFINITE;
        if (target >= 0 && target < classes) {
            loss = log_mass - (get(logits, at + target) - peak);
            if (smoothing != 0)
                loss = ((acc)1 - share) * loss -
                       share / (acc)classes * (below - (acc)classes * log_mass);
        }
        put(losses, row, loss);
    }
}

extern "C" __global__ void softmax_cross_entropy_backward(const real *probabilities,
                                                          const long long *targets,
                                                          const real *glosses, real *gx,
                                                          long long rows, long long classes,
                                                          long long team, double smoothing) {
    long long row = first_element() / team, lane = threadIdx.x % team;
    if (row >= rows) return;
    long long at = row * classes, target = targets[row];
    if (target < 0) target += classes;
    acc g = get(glosses, row), even = (acc)(smoothing / (double)classes);
    acc one = (acc)(1.0 - smoothing);
    for (long long j = lane; j < classes; j += team)
        put(gx, at + j, (get(probabilities, at + j) - even - (j == target ? one : (acc)0)) * g);
}

extern "C" __global__ void sigmoid_cross_entropy(const real *logits, const real *targets,
                                                 real *losses, long long n) {
    for (long long i = first_element(); i < n; i += stride_of_grid()) {
        acc z = get(logits, i);
        put(losses, i, larger(z, (acc)0) - z * get(targets, i) + log1p(exp(-fabs(z))));
    }
}

extern "C" __global__ void sigmoid_cross_entropy_backward(const real *logits, const real *targets,
                                                          const real *g, real *gx, long long n) {
    for (long long i = first_element(); i < n; i += stride_of_grid())
        put(gx, i, get(g, i) * (sigmoid_of(get(logits, i)) - get(targets, i)));
}
