// Enlarging images (N, H, W, C).

// y (N, H fh, W fw, C): each cell of x fh * fw times.
extern "C" __global__ void upsample(const real *x, real *y, long long height, long long width,
                                    long long fh, long long fw, long long cells,
                                    long long channels, long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long row = quotient(cell, width * fw), column = cell - row * width * fw;
        long long from = quotient(row, fh) * width + quotient(column, fw);
        EACH_CHANNEL(c, channels, shift) y[cell * channels + c] = x[from * channels + c];
    }
}

// gx (N, H, W, C): the sums of gy over fh * fw cells.
extern "C" __global__ void upsample_backward(const real *gy, real *gx, long long height,
                                             long long width, long long fh, long long fw,
                                             long long cells, long long channels,
                                             long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long row = quotient(cell, width), column = cell - row * width;
        EACH_CHANNEL(c, channels, shift) {
            acc sum = 0;
            for (long long i = 0; i < fh; i++)
                for (long long j = 0; j < fw; j++) {
                    long long from = (row * fh + i) * width * fw + column * fw + j;
                    sum += get(gy, from * channels + c);
                }
            put(gx, cell * channels + c, sum);
        }
    }
}

// y (outer, b, a, channels) from x (outer, a, b, channels).
extern "C" __global__ void exchange_cells(const real *x, real *y, long long a, long long b,
                                          long long cells, long long channels, long long shift) {
    EACH_CELL(cell, cells, shift) {
        long long line = quotient(cell, a), outer = quotient(line, b);
        long long from = (outer * a + cell - line * a) * b + line - outer * b;
        EACH_CHANNEL(c, channels, shift) y[cell * channels + c] = x[from * channels + c];
    }
}
