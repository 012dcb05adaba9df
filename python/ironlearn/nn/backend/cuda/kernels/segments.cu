// Sums of rows that go to the same place, without atomics: the entries are sorted by the place they
// go to, and each place adds up its own, always in the same order.
//
// An entry's key is place * n + entry: unique, so that any sort gives one answer, and both numbers
// can be read from it.

// Places below 0 count from the last one; those that are none get a key behind all others, where
// nobody looks. A negative n_places takes the numbers as they are.
extern "C" __global__ void segment_keys(const long long *places, long long *keys, long long n,
                                        long long n_places) {
    for (long long i = first_element(); i < n; i += stride_of_grid()) {
        long long place = places[i];
        if (n_places >= 0) {
            if (place < 0) place += n_places;
            if (place < 0 || place >= n_places) place = n_places;
        }
        keys[i] = place * n + i;
    }
}

static __device__ long long first_key_from(const long long *keys, long long n, long long key) {
    long long low = 0, high = n;
    while (low < high) {
        long long middle = (low + high) >> 1;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// out[place] = sum of weights[e] values[sources[e]] over the entries e of the place. `names` are
// the places' numbers in the keys, `weights` and `sources` may be null: 0, 1, ..., ones and the
// entries themselves. A block has some places, each `parts` groups of `lanes` columns.
//
// With `by_entry` a block has some entries instead, in the order of the keys, and the first one of
// a place adds up for it; places without entries are not written.
extern "C" __global__ void segment_sum(const long long *keys, long long n, const long long *names,
                                       const real *values, const real *weights,
                                       const long long *sources, long long n_sources, real *out,
                                       long long n_places, long long width, long long lanes,
                                       long long parts, long long by_entry) {
    __shared__ acc sums[256];
    int t = threadIdx.x, lane = t % (int)lanes, part = t / (int)lanes % (int)parts;
    long long line = blockIdx.x * (blockDim.x / (lanes * parts)) + t / (lanes * parts);
    long long place = line, name = 0, first = n;
    bool mine = false;
    if (by_entry) {
        if (line < n) {
            place = name = keys[line] / n;
            mine = place < n_places && (line == 0 || keys[line - 1] < name * n);
            if (mine) first = line;
        }
    } else if (place < n_places) {
        mine = true;
        name = names ? names[place] : place;
        first = first_key_from(keys, n, name * n);
    }
    long long end = (name + 1) * n;
    for (long long start = blockIdx.y * lanes; start < width; start += gridDim.y * lanes) {
        long long column = start + lane;
        acc sum = 0;
        if (column < width)
            for (long long i = first + part; i < n && keys[i] < end; i += parts) {
                long long entry = keys[i] - name * n, source = entry;
                acc v = INFINITE - INFINITE;
                if (sources) {
                    source = sources[entry];
                    if (source < 0) source += n_sources;
                }
                if (source >= 0 && source < n_sources) v = get(values, source * width + column);
                sum += weights ? get(weights, entry) * v : v;
            }
        sums[t] = sum;
        for (int step = (int)parts >> 1; step; step >>= 1) {
            __syncthreads();
            if (part < step) sums[t] += sums[t + step * (int)lanes];
        }
        if (part == 0 && mine && column < width)
            put(out, place * width + column, sums[t]);
        // The next columns' sums may not come before all have read these.
        __syncthreads();
    }
}

// out[i] = table[ids[i]]. A number below 0 counts from the last row; one that has no row gives NaN.
extern "C" __global__ void gather_rows(const long long *ids, const real *table, real *out,
                                       long long n, long long n_rows, long long width,
                                       long long lanes) {
    long long lane = threadIdx.x % lanes;
    for (long long i = first_element() / lanes; i < n; i += stride_of_grid() / lanes) {
        long long row = ids[i];
        if (row < 0) row += n_rows;
        bool known = row >= 0 && row < n_rows;
        for (long long column = lane; column < width; column += lanes)
            put(out, i * width + column,
                known ? get(table, row * width + column) : INFINITE - INFINITE);
    }
}
