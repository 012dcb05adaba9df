// Sums over the rows of a matrix in C order, with or without an activation's slope in the same
// pass. A block has `lanes` neighbouring columns and as many groups of rows as its threads allow;
// `lanes` and the number of threads are powers of two. Each block takes `rows_each` rows; the sums
// of several such stretches are added up by a second kernel, always in the same order.

// The sum over a block's groups, in the threads of the first group.
static __device__ acc sum_of_groups(acc sum, int lanes) {
    __shared__ acc sums[1024];
    sums[threadIdx.x] = sum;
    for (int step = blockDim.x >> 1; step >= lanes; step >>= 1) {
        __syncthreads();
        if (threadIdx.x < step) sums[threadIdx.x] += sums[threadIdx.x + step];
    }
    return sums[threadIdx.x];
}

// gz = gy times the activation's slope at y (not written where the activation is linear), and the
// sums of gz over rows: into `out` where one stretch has all rows, else into `parts`.
extern "C" __global__ void column_parts(const real *gy, const real *y, real *gz, acc *parts,
                                        real *out, long long rows, long long columns,
                                        long long lanes, long long rows_each, long long kind) {
    long long lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    long long column = blockIdx.x * lanes + lane;
    long long first = blockIdx.y * rows_each, last = first + rows_each;
    if (last > rows) last = rows;
    acc sum = 0;
    if (column < columns)
        for (long long row = first + group; row < last; row += groups) {
            long long i = row * columns + column;
            acc g = get(gy, i);
            if (kind != LINEAR) {
                g *= slope_from_output(get(y, i), kind);
                put(gz, i, g);
            }
            sum += g;
        }
    sum = sum_of_groups(sum, (int)lanes);
    if (group == 0 && column < columns) {
        if (out)
            put(out, column, sum);
        else
            parts[blockIdx.y * columns + column] = sum;
    }
}

extern "C" __global__ void column_total(const acc *parts, real *out, long long rows,
                                        long long columns, long long lanes) {
    long long lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
    long long column = blockIdx.x * lanes + lane;
    acc sum = 0;
    if (column < columns)
        for (long long row = group; row < rows; row += groups) sum += parts[row * columns + column];
    sum = sum_of_groups(sum, (int)lanes);
    if (group == 0 && column < columns) put(out, column, sum);
}
