// Convolution with bias, activation and, if wanted, maxima of 2 x 2 cells, in one kernel: for few
// input channels and filters, where a matrix of patches would be many times as large as the images.
//
// A block holds a tile of one image and 2^shift filters in shared memory. A thread has one filter
// and computes four cells at a time, 2 x 2 or (images of one row) 1 x 4: each number of the kernel
// that it reads serves four products, and all threads of a warp read the same cell.
extern "C" __global__ void conv_direct(const real *x, const real *w, const real *b, real *y,
                                       int *argmax, long long height, long long width,
                                       long long cin, long long filters, long long kh,
                                       long long kw, long long oh, long long ow, long long sh,
                                       long long sw, long long top, long long left, long long dh,
                                       long long dw, long long quad_height, long long tile_height,
                                       long long tile_width, long long tiles_down,
                                       long long tiles_across, long long kind, long long shift) {
    const int across = quad_height == 1 ? 4 : 2;
    const int step = (int)sw * (int)cin, lanes = 1 << shift;
    // What of the image the tile sees.
    const int rows = (int)((tile_height * quad_height - 1) * sh + (kh - 1) * dh + 1);
    const int columns = (int)((tile_width * across - 1) * sw + (kw - 1) * dw + 1);
    const int line = columns * (int)cin, cells = rows * line;
    DYNAMIC_SHARED(acc, patch);
    acc *kernel = patch + cells;

    long long tile = blockIdx.x, n = quotient(tile, tiles_down * tiles_across);
    tile -= n * tiles_down * tiles_across;
    long long tile_row = tile / tiles_across;
    // The tile's first quad of the image.
    long long quad_y = tile_row * tile_height;
    long long quad_x = (tile - tile_row * tiles_across) * tile_width;
    long long h0 = quad_y * quad_height * sh - top, v0 = quad_x * across * sw - left;
    for (int e = threadIdx.x; e < cells; e += blockDim.x) {
        int r = e / line, rest = e - r * line, s = rest / (int)cin;
        long long h = h0 + r, v = v0 + s;
        bool inside = h >= 0 && h < height && v >= 0 && v < width;
        patch[e] =
            inside ? get(x, ((n * height + h) * width + v) * cin + (rest - s * cin)) : (acc)0;
    }
    long long first = (long long)blockIdx.y << shift;
    for (int e = threadIdx.x; e < (int)(kh * kw * cin) << shift; e += blockDim.x) {
        long long o = first + (e & (lanes - 1));
        kernel[e] = o < filters ? get(w, (e >> shift) * filters + o) : (acc)0;
    }
    __syncthreads();

    long long o = first + (threadIdx.x & (lanes - 1));
    if (o >= filters) return;
    acc bias = b ? get(b, o) : (acc)0;
    for (int quad = threadIdx.x >> shift; quad < tile_height * tile_width;
         quad += blockDim.x >> shift) {
        int down = quad / (int)tile_width, beside = quad - down * (int)tile_width;
        const acc *p0 = patch + down * (int)(quad_height * sh) * line + beside * across * step;
        const acc *p1 = p0 + step;
        const acc *p2 = quad_height == 1 ? p1 + step : p0 + (int)sh * line, *p3 = p2 + step;
        const acc *factor = kernel + (threadIdx.x & (lanes - 1));
        acc s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (int i = 0; i < kh; i++)
            for (int j = 0; j < kw; j++) {
                int at = i * (int)dh * line + j * (int)(dw * cin);
                for (int end = at + (int)cin; at < end; at++, factor += lanes) {
                    acc f = *factor;
                    s0 += p0[at] * f;
                    s1 += p1[at] * f;
                    s2 += p2[at] * f;
                    s3 += p3[at] * f;
                }
            }
        long long qy = quad_y + down, qx = quad_x + beside;
        // Cells that fill no window have no maximum.
        if (argmax && (qy >= oh / 2 || qx >= ow / 2)) continue;
        acc best = -INFINITE;
        long long place = 0;
        // Not unrolled: an activation is long.
#pragma unroll 1
        for (int u = 0; u < 4; u++) {
            acc sum = u == 0 ? s0 : u == 1 ? s1 : u == 2 ? s2 : s3;
            acc found = activate(sum + bias, kind);
            long long r = qy * quad_height + u / across, s = qx * across + u % across;
            if (argmax) {
                if (!(found <= best) && best == best) {
                    best = found;
                    place = r * ow + s;
                }
            } else if (r < oh && s < ow) {
                put(y, ((n * oh + r) * ow + s) * filters + o, found);
            }
        }
        if (argmax) {
            long long to = ((n * (oh / 2) + qy) * (ow / 2) + qx) * filters + o;
            put(y, to, best);
            argmax[to] = (int)place;
        }
    }
}
