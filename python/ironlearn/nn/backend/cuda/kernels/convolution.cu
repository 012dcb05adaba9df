// Convolution of images (N, H, W, C) by kernels (kh, kw, in, out).
//
// The lowering to a matrix of patches is that of Chellapilla, Puri and Simard, "High performance
// convolutional neural networks for document processing" (2006). Kernels that know a band of rows
// take its first row and its height, so that a matrix need not hold whole images.

// Row (n, y, x) and column (i, j, c) of `columns`: channel c of the cell under the kernel's cell
// (i, j) where it is put at row `first` + y and column x of image n.
extern "C" __global__ void conv_columns(const real *x, real *columns, long long height,
                                        long long width, long long kh, long long kw, long long oh,
                                        long long ow, long long first, long long sh, long long sw,
                                        long long top, long long left, long long dh, long long dw,
                                        long long cells, long long channels, long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long pixel = quotient(cell, kh * kw), row = quotient(pixel, ow);
        long long n = quotient(row, oh);
        int spot = (int)(cell - pixel * kh * kw), i = spot / (int)kw, j = spot - i * (int)kw;
        long long h = (first + row - n * oh) * sh - top + i * dh;
        long long v = (pixel - row * ow) * sw - left + j * dw;
        bool inside = h >= 0 && h < height && v >= 0 && v < width;
        const real *from = x + (inside ? ((n * height + h) * width + v) * channels : 0);
        real *to = columns + cell * channels;
        EACH_CHANNEL(c, channels, shift) to[c] = inside ? from[c] : put((acc)0);
    }
}

// The transpose of that: each cell of the input adds up what the patches that hold it say of it,
// always in the same order. gx has `height` rows of each image from row `from` on; `columns` has
// `oh` rows of patches from row `first` on, the first that holds any of those.
extern "C" __global__ void conv_gather(const real *columns, real *gx, long long height,
                                       long long width, long long kh, long long kw, long long oh,
                                       long long ow, long long first, long long from, long long sh,
                                       long long sw, long long top, long long left, long long dh,
                                       long long dw, long long cells, long long channels,
                                       long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long row = quotient(cell, width), n = quotient(row, height);
        long long below = from + row - n * height + top, beside = cell - row * width + left;
        EACH_CHANNEL(c, channels, shift) {
            acc sum = 0;
            for (long long i = 0, h = below; i < kh && h >= 0; i++, h -= dh) {
                long long y = quotient(h, sh);
                if (y * sh != h || y >= first + oh) continue;
                for (long long j = 0, v = beside; j < kw && v >= 0; j++, v -= dw) {
                    long long z = quotient(v, sw);
                    if (z * sw != v || z >= ow) continue;
                    long long pixel = (n * oh + y - first) * ow + z;
                    sum += get(columns, ((pixel * kh + i) * kw + j) * channels + c);
                }
            }
            put(gx, cell * channels + c, sum);
        }
    }
}

// y = activate(y + b), b may be null.
extern "C" __global__ void conv_bias_activation(real *y, const real *b, long long n,
                                                long long channels, long long kind) {
    for (long long i = first_element(); i < n; i += stride_of_grid()) {
        acc v = get(y, i);
        if (b) v += get(b, i - quotient(i, channels) * channels);
        put(y, i, activate(v, kind));
    }
}

// g = gy times the activation's slope (g may be null), and its sums over bands of `band` rows:
// block (32-channel part, band) of lanes x rows threads writes row `band` of `sums`.
extern "C" __global__ void conv_slope_sums(const real *gy, const real *y, real *g, acc *sums,
                                           long long rows, long long channels, long long band,
                                           long long kind) {
    __shared__ acc part[256];
    long long c = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long last = (blockIdx.y + 1) * band < rows ? (blockIdx.y + 1) * band : rows;
    acc sum = 0;
    if (c < channels)
        for (long long row = blockIdx.y * band + threadIdx.y; row < last; row += blockDim.y) {
            long long at = row * channels + c;
            acc v = get(gy, at);
            if (kind != LINEAR) v *= slope_from_output(get(y, at), kind);
            if (g) put(g, at, v);
            sum += v;
        }
    int thread = threadIdx.y * blockDim.x + threadIdx.x;
    part[thread] = sum;
    for (int half = blockDim.y / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) part[thread] += part[thread + half * blockDim.x];
    }
    if (threadIdx.y == 0 && c < channels) sums[blockIdx.y * channels + c] = part[thread];
}

// The sum of the rows of `sums` (bands, n), one after the other.
extern "C" __global__ void conv_add_bands(const acc *sums, real *out, long long bands,
                                          long long n) {
    for (long long i = first_element(); i < n; i += stride_of_grid()) {
        acc sum = 0;
        for (long long band = 0; band < bands; band++) sum += sums[band * n + i];
        put(out, i, sum);
    }
}
