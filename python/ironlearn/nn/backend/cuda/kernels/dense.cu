// What follows a product of matrices.

// A number below `columns`: i modulo it, without a 64-bit division where the numbers are small.
static __device__ __forceinline__ long long column_of(long long i, long long columns) {
    if (i <= 0x7FFFFFFFLL && columns <= 0x7FFFFFFFLL)
        return (unsigned)i % (unsigned)columns;
    return i % columns;
}

// In place: z = activation(z + bias) of rows of z.
extern "C" __global__ void bias_activation(real *z, const real *bias, long long n,
                                           long long columns, long long kind) {
    for (long long i = first_element(); i < n; i += stride_of_grid())
        put(z, i, activate(get(z, i) + get(bias, column_of(i, columns)), kind));
}
