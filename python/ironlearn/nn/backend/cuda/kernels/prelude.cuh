// What every kernel starts from. The source is compiled once a precision, with PRECISION 64, 32,
// 16 (IEEE binary16) or 17 (bfloat16): `real` is how numbers are stored, `acc` what is computed in.
// There are no headers: nothing but a compiler need be installed.
//
// The same source is also compiled as C++ for the CPU, with SHIM defined (see tests/standin).

#if PRECISION == 64
typedef double real;
typedef double acc;
#elif PRECISION == 32
typedef float real;
typedef float acc;
#else
struct real {
    unsigned short bits;
};
typedef float acc;
#endif

#ifdef SHIM
#define DYNAMIC_SHARED(type, name) type *name = (type *)shim::dynamic_shared
#define INFINITE ((acc)HUGE_VAL)
#else
#define DYNAMIC_SHARED(type, name)                                                                 \
    extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];                          \
    type *name = (type *)dynamic_shared_bytes
#define INFINITE ((acc)__longlong_as_double(0x7FF0000000000000LL))
#endif

#if PRECISION >= 32
static __device__ __forceinline__ acc get(real v) { return v; }
static __device__ __forceinline__ real put(acc v) { return v; }
#elif PRECISION == 16 && !defined(SHIM)
static __device__ __forceinline__ acc get(real v) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v.bits));
    return f;
}
static __device__ __forceinline__ real put(acc v) {
    real r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(v));
    return r;
}
#else
static __device__ __forceinline__ unsigned bits_of(float f) {
#ifdef SHIM
    unsigned u;
    memcpy(&u, &f, 4);
    return u;
#else
    return __float_as_uint(f);
#endif
}
static __device__ __forceinline__ float float_of(unsigned u) {
#ifdef SHIM
    float f;
    memcpy(&f, &u, 4);
    return f;
#else
    return __uint_as_float(u);
#endif
}
#if PRECISION == 17
static __device__ __forceinline__ acc get(real v) { return float_of((unsigned)v.bits << 16); }
static __device__ __forceinline__ real put(acc v) {
    unsigned u = bits_of(v);
    real r;
    // To nearest, ties to even; a NaN stays one.
    if ((u & 0x7FFFFFFFu) > 0x7F800000u)
        r.bits = (unsigned short)((u >> 16) | 0x40u);
    else
        r.bits = (unsigned short)((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
    return r;
}
#else
static __device__ __forceinline__ acc get(real v) {
    _Float16 half;
    memcpy(&half, &v.bits, 2);
    return (float)half;
}
static __device__ __forceinline__ real put(acc v) {
    _Float16 half = (_Float16)v;
    real r;
    memcpy(&r.bits, &half, 2);
    return r;
}
#endif
#endif

static __device__ __forceinline__ acc get(const real *x, long long i) { return get(x[i]); }
static __device__ __forceinline__ void put(real *y, long long i, acc v) { y[i] = put(v); }

// A thread's number in a grid of one dimension, and how far on its next element is.
static __device__ __forceinline__ long long first_element() {
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}
static __device__ __forceinline__ long long stride_of_grid() {
    return (long long)gridDim.x * blockDim.x;
}

// a / b of numbers that are not negative; a GPU divides 32 bits several times as fast as 64.
static __device__ __forceinline__ long long quotient(long long a, long long b) {
    return ((a | b) >> 32) == 0 ? (long long)((unsigned)a / (unsigned)b) : a / b;
}

// A walk over cells that hold channels side by side: 2^shift neighbouring threads take a cell
// together and go over its channels, so that neighbours read and write neighbours. The block's size
// is a multiple of 2^shift (see `Kernels.cells`).
#define EACH_CELL(cell, cells, shift)                                                              \
    for (long long cell = first_element() >> (shift); cell < (cells);                              \
         cell += stride_of_grid() >> (shift))
#define EACH_CHANNEL(c, channels, shift)                                                           \
    for (long long c = threadIdx.x & ((1u << (shift)) - 1); c < (channels); c += 1ll << (shift))

// The larger of two; a NaN wins, as in NumPy's maximum.
static __device__ __forceinline__ acc larger(acc a, acc b) { return a > b || a != a ? a : b; }

// Sums and maxima over a warp and over a block of whole warps (32, 64, ... 1024 threads); every
// thread gets the answer, added up in an order that depends on nothing but the block's size.
static __device__ __forceinline__ acc warp_sum(acc v) {
    for (int offset = 16; offset; offset >>= 1) v += __shfl_xor_sync(0xFFFFFFFFu, v, offset);
    return v;
}
static __device__ __forceinline__ acc warp_max(acc v) {
    for (int offset = 16; offset; offset >>= 1)
        v = larger(v, __shfl_xor_sync(0xFFFFFFFFu, v, offset));
    return v;
}
static __device__ acc block_sum(acc v) {
    __shared__ acc part[32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    v = warp_sum(v);
    if (lane == 0) part[warp] = v;
    __syncthreads();
    v = warp_sum(lane < warps ? part[lane] : (acc)0);
    // Nobody may write the next sum's parts before all have read these.
    __syncthreads();
    return v;
}
static __device__ acc block_max(acc v) {
    __shared__ acc part[32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    v = warp_max(v);
    if (lane == 0) part[warp] = v;
    __syncthreads();
    v = warp_max(lane < warps ? part[lane] : -INFINITE);
    __syncthreads();
    return v;
}

// The same over a row of the block's threads: a warp (blockDim.x 32, any blockDim.y), or the whole
// block (blockDim.y 1).
static __device__ __forceinline__ acc row_sum(acc v) {
    return blockDim.x == 32 ? warp_sum(v) : block_sum(v);
}
static __device__ __forceinline__ acc row_max(acc v) {
    return blockDim.x == 32 ? warp_max(v) : block_max(v);
}

// Activations by number; `ironlearn.nn.backend.cuda.activations` has their names.
enum Activation {
    LINEAR,
    RELU,
    SIGMOID,
    TANH,
    LEAKY_RELU,
    ELU,
    GELU,
    GELU_TANH,
    RELU6,
    SILU,
    SOFTPLUS
};

static __device__ __forceinline__ acc sigmoid_of(acc x) {
    // The exponential of a negative number: it cannot overflow.
    acc e = exp(-fabs(x));
    return (x >= 0 ? (acc)1 : e) / ((acc)1 + e);
}

static __device__ __forceinline__ acc activate(acc x, long long kind) {
    switch (kind) {
    case RELU:
        return x > 0 || x != x ? x : (acc)0;
    case SIGMOID:
        return sigmoid_of(x);
    case TANH:
        return tanh(x);
    case LEAKY_RELU:
        return x > 0 ? x : x * (acc)0.01;
    case ELU:
        return x > 0 ? x : expm1(x);
    case GELU:
        return x * ((acc)0.5 * erfc(x * (acc)-0.70710678118654752440));
    case GELU_TANH:
        return (acc)0.5 * x *
               ((acc)1 + tanh((acc)0.79788456080286535588 * (x + (acc)0.044715 * x * x * x)));
    case RELU6:
        return x != x ? x : x < 0 ? (acc)0 : x > 6 ? (acc)6 : x;
    case SILU:
        return x * sigmoid_of(x);
    case SOFTPLUS:
        return (x > 0 ? x : (acc)0) + log1p(exp(-fabs(x)));
    default:
        return x;
    }
}

// The derivative of an activation that follows from its output y (LINEAR to ELU, RELU6).
static __device__ __forceinline__ acc slope_from_output(acc y, long long kind) {
    switch (kind) {
    case RELU:
        return y > 0 ? (acc)1 : (acc)0;
    case SIGMOID:
        return y * ((acc)1 - y);
    case TANH:
        return (acc)1 - y * y;
    case LEAKY_RELU:
        return y > 0 ? (acc)1 : (acc)0.01;
    case ELU:
        return y > 0 ? (acc)1 : y + (acc)1;
    case RELU6:
        return y > 0 && y < 6 ? (acc)1 : (acc)0;
    default:
        return (acc)1;
    }
}

// The derivative of an activation that needs its input x (GELU to SOFTPLUS but RELU6).
static __device__ __forceinline__ acc slope_from_input(acc x, long long kind) {
    switch (kind) {
    case GELU: {
        acc density = exp((acc)-0.5 * x * x) * (acc)0.39894228040143267794;
        return (acc)0.5 * erfc(x * (acc)-0.70710678118654752440) + x * density;
    }
    case GELU_TANH: {
        const acc root = (acc)0.79788456080286535588, cubic = (acc)0.044715;
        acc inner = tanh(root * (x + cubic * x * x * x));
        acc slope = root * ((acc)1 + (acc)3 * cubic * x * x);
        return (acc)0.5 * ((acc)1 + inner) + (acc)0.5 * x * ((acc)1 - inner * inner) * slope;
    }
    case SILU: {
        acc s = sigmoid_of(x);
        return s * ((acc)1 + x * ((acc)1 - s));
    }
    case SOFTPLUS:
        return sigmoid_of(x);
    default:
        return (acc)1;
    }
}
