// Connectionist temporal classification (Graves et al., ICML 2006, section 4.1), in logarithms: a
// block walks over all steps of one sequence, forwards and backwards. State 2 i + 1 is the
// target's symbol i, the even ones are the blanks before, between and after them.

struct CtcStates {
    const real *logs;
    const long long *target;
    long long classes, blank, used;

    static __device__ acc never() { return (acc)-1e30; }
    __device__ long long class_of(long long s) const { return s & 1 ? target[s >> 1] : blank; }
    // The log-probability of a state's class at a step; no such state or class is impossible.
    __device__ acc emission(long long step, long long s) const {
        if (s >= used) return never();
        long long c = class_of(s);
        return c < classes ? get(logs, step * classes + c) : never();
    }
    // Whether state s may follow s - 2: a blank must part equal symbols.
    __device__ bool skips(long long s) const {
        if (!(s & 1) || s < 3 || s >= used) return false;
        long long c = target[s >> 1];
        return c != target[(s >> 1) - 1] && c != blank;
    }
    __device__ bool ends(long long s) const { return s == used - 1 || s == used - 2; }
};

// log(exp(a) + exp(b) + exp(c)), not below `never`.
static __device__ __forceinline__ acc ctc_sum(acc a, acc b, acc c) {
    acc top = larger(a, larger(b, c));
    return larger(top + log(exp(a - top) + exp(b - top) + exp(c - top)), CtcStates::never());
}

// `forward` (N, steps, states) is room to work in; `gradient` (N, steps, classes) comes as zeros.
// Shared memory has four numbers and two ints for each state.
extern "C" __global__ void __launch_bounds__(1024)
    ctc(const real *logs, const long long *targets, const long long *lengths, acc *forward,
        real *losses, real *gradient, long long steps, long long classes, long long symbols,
        long long blank) {
    DYNAMIC_SHARED(acc, rows);
    const long long n = blockIdx.x, size = 2 * symbols + 1, me = threadIdx.x;
    acc *joints = rows + 2 * size;
    int *next_same = (int *)(rows + 4 * size), *is_first = next_same + size;
    CtcStates states = {logs + n * steps * classes, targets + n * symbols, classes, blank, 0};
    const acc never = CtcStates::never();
    forward += n * steps * size;
    gradient += n * steps * classes;

    acc symbols_used = 0;
    for (long long i = me; i < symbols; i += blockDim.x) symbols_used += states.target[i] >= 0;
    states.used = 2 * (long long)block_sum(symbols_used) + 1;
    long long length = lengths[n] < steps ? lengths[n] : steps;

    // Equal symbols are linked, so that one thread adds them up, in their order.
    for (long long s = me; s < size; s += blockDim.x) {
        int next = -1, first = 0;
        if (s < states.used && s & 1) {
            long long c = states.class_of(s);
            first = c != blank && c < classes;
            for (long long other = 1; other < s && first; other += 2)
                first = states.class_of(other) != c;
            for (long long other = s + 2; other < states.used && next < 0; other += 2)
                if (states.class_of(other) == c) next = (int)other;
        }
        next_same[s] = next;
        is_first[s] = first;
    }

    acc *last = rows, *now = rows + size;
    // What the thread's first state needs at the next step is on its way during this one.
    acc coming = me < size && length > 0 ? states.emission(0, me) : never;
    for (long long t = 0; t < length; t++) {
        acc own = coming;
        if (t + 1 < length && me < size) coming = states.emission(t + 1, me);
        for (long long s = me; s < size; s += blockDim.x) {
            acc emission = s == me ? own : states.emission(t, s), sum;
            if (t == 0)
                sum = s < 2 ? (acc)0 : never;
            else
                sum = ctc_sum(last[s], s > 0 ? last[s - 1] : never,
                              states.skips(s) ? last[s - 2] : never);
            now[s] = forward[t * size + s] = larger(sum + emission, never);
        }
        __syncthreads();
        acc *other = last;
        last = now, now = other;
    }

    acc a = never, b = never;
    if (length > 0) {
        a = last[states.used - 1];
        if (states.used > 1) b = last[states.used - 2];
    }
    acc total = larger(a, b) + log1p(exp(-fabs(a - b)));
    bool possible = total > never / 2;
    if (me == 0) put(losses, n, possible ? -total : (acc)0);
    if (!possible) return;

    // Going back, a row has the sums over what follows, the step's own emission in them.
    acc coming_sum = never;
    if (me < size) {
        coming = states.emission(length - 1, me);
        coming_sum = forward[(length - 1) * size + me];
    }
    for (long long t = length - 1; t >= 0; t--) {
        acc own = coming, own_sum = coming_sum, blanks = 0;
        acc *joint = joints + (t & 1) * size;
        if (t > 0 && me < size) {
            coming = states.emission(t - 1, me);
            coming_sum = forward[(t - 1) * size + me];
        }
        for (long long s = me; s < size; s += blockDim.x) {
            acc emission = s == me ? own : states.emission(t, s), follows;
            acc before = s == me ? own_sum : forward[t * size + s];
            if (t == length - 1)
                follows = states.ends(s) ? (acc)0 : never;
            else
                follows = ctc_sum(last[s], s + 1 < size ? last[s + 1] : never,
                                  states.skips(s + 2) ? last[s + 2] : never);
            now[s] = larger(follows + emission, never);
            acc log_joint = before + follows - total;
            acc share = exp(log_joint < 0 ? log_joint : (acc)0);
            joint[s] = share;
            if (s < states.used && states.class_of(s) == blank) blanks += share;
        }
        // Its barriers also part the steps, and the two rows of joint probabilities take turns.
        blanks = block_sum(blanks);
        if (me == 0 && blank < classes) put(gradient, t * classes + blank, -blanks);
        for (long long s = me; s < size; s += blockDim.x)
            if (is_first[s]) {
                acc share = 0;
                for (int same = (int)s; same >= 0; same = next_same[same]) share += joint[same];
                put(gradient, t * classes + states.class_of(s), -share);
            }
        acc *other = last;
        last = now, now = other;
    }
}
