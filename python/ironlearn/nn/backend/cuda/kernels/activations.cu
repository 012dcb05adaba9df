// Activations of contiguous arrays, and their gradients.

extern "C" __global__ void activation(const real *x, real *y, long long n, long long kind) {
    for (long long i = first_element(); i < n; i += stride_of_grid())
        put(y, i, activate(get(x, i), kind));
}

extern "C" __global__ void activation_backward(const real *gy, const real *y, real *gx,
                                               long long n, long long kind) {
    for (long long i = first_element(); i < n; i += stride_of_grid())
        put(gx, i, get(gy, i) * slope_from_output(get(y, i), kind));
}

extern "C" __global__ void activation_input_backward(const real *gy, const real *x, real *gx,
                                                     long long n, long long kind) {
    for (long long i = first_element(); i < n; i += stride_of_grid())
        put(gx, i, get(gy, i) * slope_from_input(get(x, i), kind));
}

// erfc(x), or the normal distribution function of x.
extern "C" __global__ void normal_tail(const real *x, real *y, long long n, long long normal) {
    for (long long i = first_element(); i < n; i += stride_of_grid()) {
        acc v = get(x, i);
        put(y, i, normal ? (acc)0.5 * erfc(v * (acc)-0.70710678118654752440) : erfc(v));
    }
}
