// Convolution in groups of channels, depthwise convolution among them: there is too little to
// multiply for a matrix of patches to pay, so that every kernel reads the images themselves.
//
// Group g has input channels g * cin ... (g + 1) * cin and output channels likewise; `channels` is
// that of the array over which a kernel walks, `others` that of the array at the other end.

extern "C" __global__ void conv_grouped(const real *x, const real *w, const real *b, real *y,
                                        long long height, long long width, long long kh,
                                        long long kw, long long oh, long long ow, long long sh,
                                        long long sw, long long top, long long left, long long dh,
                                        long long dw, long long cin, long long cout,
                                        long long others, long long kind, long long cells,
                                        long long channels, long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long row = quotient(cell, ow), n = quotient(row, oh);
        long long above = (row - n * oh) * sh - top, before = (cell - row * ow) * sw - left;
        EACH_CHANNEL(o, channels, shift) {
            const real *image = x + n * height * width * others + quotient(o, cout) * cin;
            acc sum = 0;
            for (long long i = 0; i < kh; i++) {
                long long h = above + i * dh;
                if (h < 0 || h >= height) continue;
                for (long long j = 0; j < kw; j++) {
                    long long v = before + j * dw;
                    if (v < 0 || v >= width) continue;
                    const real *from = image + (h * width + v) * others;
                    const real *factor = w + (i * kw + j) * cin * channels + o;
                    for (long long c = 0; c < cin; c++)
                        sum += get(from, c) * get(factor, c * channels);
                }
            }
            if (b) sum += get(b, o);
            put(y, cell * channels + o, activate(sum, kind));
        }
    }
}

extern "C" __global__ void conv_grouped_input(const real *gy, const real *w, real *gx,
                                              long long height, long long width, long long kh,
                                              long long kw, long long oh, long long ow,
                                              long long sh, long long sw, long long top,
                                              long long left, long long dh, long long dw,
                                              long long cin, long long cout, long long others,
                                              long long cells, long long channels,
                                              long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long row = quotient(cell, width), n = quotient(row, height);
        long long below = row - n * height + top, beside = cell - row * width + left;
        EACH_CHANNEL(c, channels, shift) {
            long long group = quotient(c, cin), inner = c - group * cin;
            acc sum = 0;
            for (long long i = 0, h = below; i < kh && h >= 0; i++, h -= dh) {
                long long y = quotient(h, sh);
                if (y * sh != h || y >= oh) continue;
                for (long long j = 0, v = beside; j < kw && v >= 0; j++, v -= dw) {
                    long long z = quotient(v, sw);
                    if (z * sw != v || z >= ow) continue;
                    const real *from = gy + ((n * oh + y) * ow + z) * others + group * cout;
                    const real *factor =
                        w + ((i * kw + j) * cin + inner) * others + group * cout;
                    for (long long o = 0; o < cout; o++) sum += get(from, o) * get(factor, o);
                }
            }
            put(gx, cell * channels + c, sum);
        }
    }
}

// Row blockIdx.y of `sums` (bands, kh * kw * cin * filters): the kernel's gradient from `band`
// output cells; a thread has one number of the kernel and goes over the cells in order.
extern "C" __global__ void conv_grouped_weight(const real *x, const real *gy, acc *sums,
                                               long long height, long long width, long long kh,
                                               long long kw, long long oh, long long ow,
                                               long long sh, long long sw, long long top,
                                               long long left, long long dh, long long dw,
                                               long long cin, long long cout, long long channels,
                                               long long filters, long long pixels,
                                               long long band) {
    long long size = kh * kw * cin * filters, e = first_element();
    if (e >= size) return;
    long long at = quotient(e, filters), o = e - at * filters;
    long long spot = quotient(at, cin), i = quotient(spot, kw), j = spot - i * kw;
    long long c = quotient(o, cout) * cin + at - spot * cin;
    long long first = blockIdx.y * band, last = first + band < pixels ? first + band : pixels;
    long long row = quotient(first, ow), z = first - row * ow;
    long long n = quotient(row, oh), y = row - n * oh;
    acc sum = 0;
    for (long long pixel = first; pixel < last; pixel++) {
        long long h = y * sh - top + i * dh, v = z * sw - left + j * dw;
        if (h >= 0 && h < height && v >= 0 && v < width)
            sum += get(x, ((n * height + h) * width + v) * channels + c) *
                   get(gy, pixel * filters + o);
        if (++z == ow) {
            z = 0;
            if (++y == oh) {
                y = 0;
                n++;
            }
        }
    }
    sums[blockIdx.y * size + e] = sum;
}
