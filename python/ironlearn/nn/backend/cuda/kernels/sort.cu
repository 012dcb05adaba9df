// A stable sort of keys by one digit of their place (key / n), least significant digit first. CuPy's
// own sort waits for the device when it is done; this one is queued like everything else.
//
// A block of 256 threads has a tile of keys; thread d looks after the keys with the digit d. All
// threads read the same cell of shared memory at once, which costs as much as one reading it.

enum { SORT_TILE = 1024, SORT_DIGITS = 256 };

static __device__ int sort_load(const long long *keys, long long n, long long shift,
                                unsigned char *digits) {
    long long start = (long long)blockIdx.x * SORT_TILE;
    int count = (int)(n - start < SORT_TILE ? n - start : SORT_TILE);
    for (int i = threadIdx.x; i < count; i += SORT_DIGITS)
        digits[i] = (unsigned char)(keys[start + i] / n >> shift & 255);
    __syncthreads();
    return count;
}

// counts[d * blocks + b] = keys with the digit d in block b's tile.
extern "C" __global__ void __launch_bounds__(256)
    sort_count(const long long *keys, long long n, long long shift, long long *counts) {
    __shared__ unsigned char digits[SORT_TILE];
    int count = sort_load(keys, n, shift, digits);
    long long mine = 0;
    for (int i = 0; i < count; i++) mine += digits[i] == threadIdx.x;
    counts[threadIdx.x * (long long)gridDim.x + blockIdx.x] = mine;
}

// Turns counts into what comes before each of them; one block of 256 threads, each with a run of
// neighbouring counts.
extern "C" __global__ void __launch_bounds__(256) sort_starts(long long *counts, long long n) {
    __shared__ long long sums[SORT_DIGITS];
    long long run = (n + SORT_DIGITS - 1) / SORT_DIGITS, first = threadIdx.x * run;
    long long last = first + run < n ? first + run : n, sum = 0;
    for (long long i = first; i < last; i++) sum += counts[i];
    sums[threadIdx.x] = sum;
    for (int step = 1; step < SORT_DIGITS; step <<= 1) {
        __syncthreads();
        long long below = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
        __syncthreads();
        sums[threadIdx.x] += below;
    }
    long long start = sums[threadIdx.x] - sum;
    for (long long i = first; i < last; i++) {
        long long count = counts[i];
        counts[i] = start;
        start += count;
    }
}

// Moves keys behind those with smaller digits, and behind those with the same digit before them.
extern "C" __global__ void __launch_bounds__(256)
    sort_move(const long long *keys, long long n, long long shift, const long long *starts,
              long long *out) {
    __shared__ unsigned char digits[SORT_TILE];
    int count = sort_load(keys, n, shift, digits);
    const long long *tile = keys + (long long)blockIdx.x * SORT_TILE;
    long long to = starts[threadIdx.x * (long long)gridDim.x + blockIdx.x];
    for (int i = 0; i < count; i++)
        if (digits[i] == threadIdx.x) out[to++] = tile[i];
}
