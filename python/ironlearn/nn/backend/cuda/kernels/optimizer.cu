// One step of an optimizer over many arrays at once. Their addresses and lengths are parameters of
// the kernel, 16 arrays a launch: nothing has to be copied to the device beforehand.
// The rules' numbers; `ironlearn.nn.backend.cuda.optimizer` has their names.
enum Rule { RULE_SGD, RULE_MOMENTUM, RULE_NESTEROV, RULE_RMSPROP, RULE_ADAM, RULE_ADAGRAD, RULE_LION };

// What the rules need beside the arrays. `first` and `second` are momentum, rho or the betas;
// `unbias1` and `unbias2` take the bias of their start out of Adam's means.
struct Hyper {
    long long rule;
    acc lr, scale, l1, l2, weight_decay, first, second, eps, unbias1, unbias2;
};

static __device__ __forceinline__ acc sign_of(acc v) {
    return v > 0 ? (acc)1 : v < 0 ? (acc)-1 : v;
}

static __device__ void step_of_rule(real *w_at, const real *g_at, real *a_at, real *b_at,
                                    long long i, const Hyper &h, bool decays) {
    acc w = get(w_at, i), g = get(g_at, i) * h.scale;
    if (decays) {
        g += h.l2 * w;
        if (h.l1 != 0) g += h.l1 * sign_of(w);
        w -= h.lr * h.weight_decay * w;
    }
    acc a = a_at ? get(a_at, i) : (acc)0, b = b_at ? get(b_at, i) : (acc)0;
    switch (h.rule) {
    case RULE_SGD:
        w -= h.lr * g;
        break;
    case RULE_MOMENTUM:
        a = h.first * a + g;
        w -= h.lr * a;
        break;
    case RULE_NESTEROV:
        a = h.first * a + g;
        w -= h.lr * (g + h.first * a);
        break;
    case RULE_RMSPROP:
        a = h.first * a + ((acc)1 - h.first) * (g * g);
        w -= h.lr * g / (sqrt(a) + h.eps);
        break;
    case RULE_ADAM:
        a = h.first * a + ((acc)1 - h.first) * g;
        b = h.second * b + ((acc)1 - h.second) * (g * g);
        w -= h.lr * h.unbias1 * a / (sqrt(b * h.unbias2) + h.eps);
        break;
    case RULE_ADAGRAD:
        a += g * g;
        w -= h.lr * g / (sqrt(a) + h.eps);
        break;
    case RULE_LION:
        w -= h.lr * sign_of(h.first * a + ((acc)1 - h.first) * g);
        a = h.second * a + ((acc)1 - h.second) * g;
        break;
    }
    put(w_at, i, w);
    if (a_at) put(a_at, i, a);
    if (b_at) put(b_at, i, b);
}

// Takes array k if the block is one of its blocks, else goes on to the next.
#define TAKE(k)                                                                                    \
    if (block >= 0) {                                                                              \
        long long blocks = (n##k + each - 1) / each;                                               \
        if (block < blocks) {                                                                      \
            w = w##k, g = g##k, a = a##k, b = b##k, n = n##k, start = block * each, number = k;     \
            block = -1;                                                                            \
        } else                                                                                     \
            block -= blocks;                                                                       \
    }

// Weights w, gradients g and up to two slots a and b of n numbers; a block has `each` of them. Bit
// k of `decays` tells whether l1, l2 and weight_decay apply to array k.
extern "C" __global__ void optimizer_step(
    real *w0, const real *g0, real *a0, real *b0, long long n0,
    real *w1, const real *g1, real *a1, real *b1, long long n1,
    real *w2, const real *g2, real *a2, real *b2, long long n2,
    real *w3, const real *g3, real *a3, real *b3, long long n3,
    real *w4, const real *g4, real *a4, real *b4, long long n4,
    real *w5, const real *g5, real *a5, real *b5, long long n5,
    real *w6, const real *g6, real *a6, real *b6, long long n6,
    real *w7, const real *g7, real *a7, real *b7, long long n7,
    real *w8, const real *g8, real *a8, real *b8, long long n8,
    real *w9, const real *g9, real *a9, real *b9, long long n9,
    real *w10, const real *g10, real *a10, real *b10, long long n10,
    real *w11, const real *g11, real *a11, real *b11, long long n11,
    real *w12, const real *g12, real *a12, real *b12, long long n12,
    real *w13, const real *g13, real *a13, real *b13, long long n13,
    real *w14, const real *g14, real *a14, real *b14, long long n14,
    real *w15, const real *g15, real *a15, real *b15, long long n15,
    long long each, long long decays, long long rule, double lr, double scale, double l1, double l2,
    double weight_decay, double first, double second, double eps, double unbias1, double unbias2) {
    real *w = 0, *a = 0, *b = 0;
    const real *g = 0;
    long long n = 0, start = 0, block = blockIdx.x;
    int number = 0;
    TAKE(0) TAKE(1) TAKE(2) TAKE(3)
    TAKE(4) TAKE(5) TAKE(6) TAKE(7)
    TAKE(8) TAKE(9) TAKE(10) TAKE(11)
    TAKE(12) TAKE(13) TAKE(14) TAKE(15)
    Hyper h = {rule,      (acc)lr,     (acc)scale, (acc)l1,      (acc)l2,     (acc)weight_decay,
               (acc)first, (acc)second, (acc)eps,   (acc)unbias1, (acc)unbias2};
    long long last = start + each < n ? start + each : n;
    for (long long i = start + threadIdx.x; i < last; i += blockDim.x)
        step_of_rule(w, g, a, b, i, h, decays >> number & 1);
}
#undef TAKE
