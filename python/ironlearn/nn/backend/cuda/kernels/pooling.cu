// Pooling of images (N, H, W, C).

// Each window's maximum and its place. A NaN wins and stays; among equal ones the first counts;
// a window without anything above minus infinity has the place 0.
extern "C" __global__ void max_pool(const real *x, real *y, int *argmax, long long height,
                                    long long width, long long kh, long long kw, long long oh,
                                    long long ow, long long sh, long long sw, long long top,
                                    long long left, long long cells, long long channels,
                                    long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long row = quotient(cell, ow), n = quotient(row, oh);
        long long h0 = (row - n * oh) * sh - top, v0 = (cell - row * ow) * sw - left;
        long long h1 = h0 + kh < height ? h0 + kh : height;
        long long v1 = v0 + kw < width ? v0 + kw : width;
        h0 = h0 > 0 ? h0 : 0;
        v0 = v0 > 0 ? v0 : 0;
        const real *image = x + n * height * width * channels;
        EACH_CHANNEL(c, channels, shift) {
            acc best = -INFINITE;
            long long place = 0;
            for (long long h = h0; h < h1; h++)
                for (long long v = v0; v < v1; v++) {
                    acc found = get(image, (h * width + v) * channels + c);
                    if (!(found <= best) && best == best) {
                        best = found;
                        place = h * width + v;
                    }
                }
            put(y, cell * channels + c, best);
            argmax[cell * channels + c] = (int)place;
        }
    }
}

// The same over a convolution's product that still lacks bias and activation; windows side by side,
// none beyond the edge. z holds `height` rows of each image from row `first` on.
extern "C" __global__ void conv_max_pool(const real *z, const real *b, real *y, int *argmax,
                                         long long height, long long width, long long kh,
                                         long long kw, long long oh, long long ow, long long first,
                                         long long kind, long long cells, long long channels,
                                         long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long row = quotient(cell, ow), n = quotient(row, oh);
        long long h0 = (row - n * oh) * kh, v0 = (cell - row * ow) * kw;
        EACH_CHANNEL(c, channels, shift) {
            acc best = -INFINITE, bias = b ? get(b, c) : (acc)0;
            long long place = 0;
            for (long long h = h0; h < h0 + kh; h++)
                for (long long v = v0; v < v0 + kw; v++) {
                    long long at = ((n * height + h) * width + v) * channels + c;
                    acc found = activate(get(z, at) + bias, kind);
                    if (!(found <= best) && best == best) {
                        best = found;
                        place = (first + h) * width + v;
                    }
                }
            put(y, cell * channels + c, best);
            argmax[cell * channels + c] = (int)place;
        }
    }
}

// Each cell adds up the gradients of the windows whose maximum it is. Any window may have the place
// 0 (see `max_pool`): the first `corners` blocks have the cells 0, a channel a column of threads,
// and look at all windows; the others walk over the other cells.
extern "C" __global__ void max_pool_backward(const real *gy, const int *argmax, real *gx,
                                             long long height, long long width, long long kh,
                                             long long kw, long long oh, long long ow,
                                             long long sh, long long sw, long long top,
                                             long long left, long long corners, long long cells,
                                             long long channels, long long shift) {
    __shared__ acc part[256];
    if (blockIdx.x < corners) {
        long long parts = (channels + 31) / 32, n = blockIdx.x / parts;
        int lane = threadIdx.x & 31, first = threadIdx.x >> 5;
        long long c = (blockIdx.x - n * parts) * 32 + lane;
        acc sum = 0;
        if (c < channels)
            for (long long p = first; p < oh * ow; p += 8) {
                long long at = (n * oh * ow + p) * channels + c;
                if (argmax[at] == 0) sum += get(gy, at);
            }
        part[threadIdx.x] = sum;
        __syncthreads();
        if (first == 0 && c < channels) {
            for (int k = 1; k < 8; k++) sum += part[k * 32 + lane];
            put(gx, n * height * width * channels + c, sum);
        }
        return;
    }
    long long thread = (blockIdx.x - corners) * blockDim.x + threadIdx.x;
    long long threads = (gridDim.x - corners) * blockDim.x;
    for (long long cell = thread >> shift; cell < cells; cell += threads >> shift) {
        long long row = quotient(cell, width), n = quotient(row, height);
        long long h = row - n * height, v = cell - row * width, place = h * width + v;
        if (place == 0) continue;
        long long y1 = quotient(h + top, sh), z1 = quotient(v + left, sw);
        long long y0 = h + top < kh ? 0 : quotient(h + top - kh, sh) + 1;
        long long z0 = v + left < kw ? 0 : quotient(v + left - kw, sw) + 1;
        y1 = y1 < oh ? y1 : oh - 1;
        z1 = z1 < ow ? z1 : ow - 1;
        EACH_CHANNEL(c, channels, shift) {
            acc sum = 0;
            for (long long y = y0; y <= y1; y++)
                for (long long z = z0; z <= z1; z++) {
                    long long at = ((n * oh + y) * ow + z) * channels + c;
                    if (argmax[at] == place) sum += get(gy, at);
                }
            put(gx, cell * channels + c, sum);
        }
    }
}

// How many cells of an axis a window of `size` from `start` on covers.
static __device__ __forceinline__ long long covered(long long start, long long size,
                                                    long long length) {
    long long end = start + size < length ? start + size : length;
    return end - (start > 0 ? start : 0);
}

extern "C" __global__ void avg_pool(const real *x, real *y, long long height, long long width,
                                    long long kh, long long kw, long long oh, long long ow,
                                    long long sh, long long sw, long long top, long long left,
                                    long long cells, long long channels, long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long row = quotient(cell, ow), n = quotient(row, oh);
        long long h0 = (row - n * oh) * sh - top, v0 = (cell - row * ow) * sw - left;
        long long down = covered(h0, kh, height), across = covered(v0, kw, width);
        h0 = h0 > 0 ? h0 : 0;
        v0 = v0 > 0 ? v0 : 0;
        const real *image = x + n * height * width * channels;
        EACH_CHANNEL(c, channels, shift) {
            acc sum = 0;
            for (long long h = h0; h < h0 + down; h++)
                for (long long v = v0; v < v0 + across; v++)
                    sum += get(image, (h * width + v) * channels + c);
            put(y, cell * channels + c, sum / (acc)(down * across));
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) avg_pool_backward(
    const real *gy, real *gx, long long height, long long width, long long kh, long long kw,
    long long oh, long long ow, long long sh, long long sw, long long top, long long left,
    long long cells, long long channels, long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long row = quotient(cell, width), n = quotient(row, height);
        long long h = row - n * height + top, v = cell - row * width + left;
        long long y1 = quotient(h, sh), z1 = quotient(v, sw);
        long long y0 = h < kh ? 0 : quotient(h - kh, sh) + 1;
        long long z0 = v < kw ? 0 : quotient(v - kw, sw) + 1;
        y1 = y1 < oh ? y1 : oh - 1;
        z1 = z1 < ow ? z1 : ow - 1;
        EACH_CHANNEL(c, channels, shift) {
            acc sum = 0;
            for (long long y = y0; y <= y1; y++) {
                long long down = covered(y * sh - top, kh, height);
                for (long long z = z0; z <= z1; z++)
                    sum += get(gy, ((n * oh + y) * ow + z) * channels + c) /
                           (acc)(down * covered(z * sw - left, kw, width));
            }
            put(gx, cell * channels + c, sum);
        }
    }
}
