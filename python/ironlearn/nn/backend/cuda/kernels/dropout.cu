// Random numbers by counter: number n of a stream is a function of the stream's key and n alone,
// as in ironlearn._random (SplitMix64: Steele, Lea and Flood, OOPSLA 2014). Keys arrive as the
// signed numbers of the same bits.

static __device__ __forceinline__ unsigned long long random_bits(long long key, long long n) {
    unsigned long long z =
        (unsigned long long)key + (unsigned long long)(n + 1) * 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (z ^ (z >> 31)) >> 11;
}
static __device__ __forceinline__ double random_in_unit(long long key, long long n) {
    return (double)random_bits(key, n) * (1.0 / 9007199254740992.0);
}

extern "C" __global__ void random_unit(double *out, long long n, long long key) {
    for (long long i = first_element(); i < n; i += stride_of_grid())
        out[i] = random_in_unit(key, i);
}

// In double precision whatever `real` is: the numbers are those of every other device.
extern "C" __global__ void random_normal(real *out, long long n, long long key) {
    for (long long i = first_element(); i < n; i += stride_of_grid()) {
        double radius = sqrt(-2.0 * log1p(-random_in_unit(key, i)));
        double angle = 6.283185307179586476925 * random_in_unit(key, n + i);
        put(out, i, (acc)(radius * cos(angle)));
    }
}

// x (ones where it is null) times 0, where the random 53 bits are below `threshold`, or `scale`.
extern "C" __global__ void dropout(const real *x, real *y, long long n, long long key,
                                   long long threshold, double scale) {
    acc kept = get(put((acc)scale));
    for (long long i = first_element(); i < n; i += stride_of_grid()) {
        acc mask = (long long)random_bits(key, i) >= threshold ? kept : (acc)0;
        put(y, i, x ? get(x, i) * mask : mask);
    }
}
