// What CUDA C++ has and C++ has not, so that a kernel runs on the CPU: one block after the other,
// every thread of a block a coroutine that runs until it reaches a barrier.
//
// A run fails, instead of giving a wrong answer, where threads of a block wait at different
// barriers or where some have ended while others wait. `shim_order` changes which thread goes
// first: a kernel that lacks a barrier gives another answer in another order.
#pragma once
// The checks that this turns on would take a jump to another thread's stack for damage.
#undef _FORTIFY_SOURCE
#include <math.h>
#include <setjmp.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <sys/mman.h>
#include <ucontext.h>

#define SHIM 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __constant__ static
#ifdef __ELF__
// All in one place, so that each block finds garbage there.
#define __shared__ static __attribute__((section("shim_shared")))
#else
#define __shared__ static
#endif
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

#ifdef __ELF__
extern unsigned char __start_shim_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_shim_shared[] __attribute__((weak, visibility("hidden")));
#endif

struct Dim3 {
    unsigned x = 1, y = 1, z = 1;
};
static Dim3 gridDim, blockDim, blockIdx, threadIdx;
static const int warpSize = 32;

namespace shim {
enum State { READY, AT_BLOCK, AT_WARP, DONE };
const int MOST = 1024;
const size_t STACK = 64 << 10, SHARED = 48 << 10;
// Bytes behind the dynamic shared memory that must stay as they were.
const size_t BEHIND = 1 << 10;

// A context is used to get onto a thread's stack once; jumps, which make no system call, go to and
// fro from then on. The stack serves the thread of the same number of all later blocks.
struct Thread {
    ucontext_t context;
    jmp_buf place;
    Dim3 index;
    State state;
    bool begun;
};
static Thread threads[MOST];
static jmp_buf scheduler;
static int n_threads, current, order;
static char *stacks;
alignas(16) static unsigned char dynamic_shared[SHARED + BEHIND];
static size_t dynamic_bytes;
static unsigned long long exchange[MOST];
static const char *failure;
static void (*body)(void **);
static void **body_arguments;

inline void wait(State state) {
    Thread &me = threads[current];
    me.state = state;
    if (_setjmp(me.place) == 0) _longjmp(scheduler, 1);
}
inline void run() {
    for (;;) {
        body(body_arguments);
        wait(DONE);
    }
}
inline void resume(int i) {
    Thread &t = threads[i];
    current = i;
    threadIdx = t.index;
    if (_setjmp(scheduler)) return;
    if (t.begun) _longjmp(t.place, 1);
    t.begun = true;
    setcontext(&t.context);
}
inline int nth(int i) {
    if (order == 0) return i;
    if (order == 1) return n_threads - 1 - i;
    // Odd numbers first.
    int odd = n_threads / 2;
    return i < odd ? 2 * i + 1 : 2 * (i - odd);
}
// Lets the threads of [first, last) go on if all of them wait at `at`; complains if that is
// impossible.
inline bool release(int first, int last, State at) {
    int waiting = 0, done = 0;
    for (int i = first; i < last; i++) {
        waiting += threads[i].state == at;
        done += threads[i].state == DONE;
    }
    if (waiting == 0) return false;
    if (waiting == last - first) {
        for (int i = first; i < last; i++) threads[i].state = READY;
        return true;
    }
    if (waiting + done == last - first)
        failure = "a barrier was reached by some threads of a block while others had ended";
    return false;
}
inline void block() {
    memset(dynamic_shared, 0xFF, dynamic_bytes + BEHIND);
#ifdef __ELF__
    if (__start_shim_shared)
        memset(__start_shim_shared, 0xFF, __stop_shim_shared - __start_shim_shared);
#endif
    for (int i = 0; i < n_threads; i++) {
        Thread &t = threads[i];
        unsigned n = i;
        t.index = {n % blockDim.x, n / blockDim.x % blockDim.y, n / (blockDim.x * blockDim.y)};
        t.state = READY;
        if (t.begun) continue;
        getcontext(&t.context);
        t.context.uc_stack.ss_sp = stacks + STACK * i;
        t.context.uc_stack.ss_size = STACK;
        t.context.uc_link = nullptr;
        makecontext(&t.context, run, 0);
    }
    for (;;) {
        bool ran = false, all_done = true;
        for (int k = 0; k < n_threads; k++) {
            int i = nth(k);
            if (threads[i].state == READY) {
                resume(i);
                ran = true;
            }
            all_done = all_done && threads[i].state == DONE;
        }
        if (all_done) {
            for (size_t i = 0; i < BEHIND; i++)
                if (dynamic_shared[dynamic_bytes + i] != 0xFF)
                    failure = "a block wrote beyond its dynamic shared memory";
            return;
        }
        for (int first = 0; first < n_threads; first += warpSize) {
            int last = first + warpSize < n_threads ? first + warpSize : n_threads;
            ran = release(first, last, AT_WARP) || ran;
        }
        ran = release(0, n_threads, AT_BLOCK) || ran;
        if (!failure && !ran) failure = "threads of a block wait at different barriers";
        if (failure) {
            // Some threads are in the middle of a kernel: they begin anew.
            for (Thread &t : threads) t.begun = false;
            return;
        }
    }
}
inline const char *launch(void (*function)(void **), void **arguments, const unsigned *grid,
                          const unsigned *threads_of_block, unsigned shared, int thread_order) {
    failure = nullptr;
    body = function;
    body_arguments = arguments;
    order = thread_order;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {threads_of_block[0], threads_of_block[1], threads_of_block[2]};
    n_threads = blockDim.x * blockDim.y * blockDim.z;
    if (n_threads < 1 || n_threads > MOST) return "a block has 1 to 1024 threads";
    dynamic_bytes = shared;
    if (shared > SHARED) return "a block has at most 48 KiB of shared memory";
    if (!stacks) {
        void *memory = mmap(nullptr, STACK * MOST, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return "no memory for the threads' stacks";
        stacks = (char *)memory;
    }
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) {
                block();
                if (failure) return failure;
            }
    return nullptr;
}
template <typename T> inline T from_lane(T value, int lane) {
    static_assert(sizeof(T) <= 8, "a lane exchanges at most eight bytes");
    int first = current / warpSize * warpSize, last = first + warpSize;
    memcpy(&exchange[current], &value, sizeof value);
    wait(AT_WARP);
    // A lane that the block does not have gives back the caller's own value, as on a GPU.
    if (first + lane < last && first + lane < n_threads)
        memcpy(&value, &exchange[first + lane], sizeof value);
    wait(AT_WARP);
    return value;
}
} // namespace shim

inline void __syncthreads() { shim::wait(shim::AT_BLOCK); }
inline void __syncwarp(unsigned = 0xFFFFFFFFu) { shim::wait(shim::AT_WARP); }
inline int shim_lane() { return shim::current % warpSize; }
template <typename T> inline T __shfl_xor_sync(unsigned, T value, int mask) {
    return shim::from_lane(value, shim_lane() ^ mask);
}
template <typename T> inline T __shfl_down_sync(unsigned, T value, int by) {
    return shim::from_lane(value, shim_lane() + by);
}
template <typename T> inline T __shfl_sync(unsigned, T value, int lane) {
    return shim::from_lane(value, lane);
}
template <typename T> inline T atomicAdd(T *at, T value) {
    T before = *at;
    *at = before + value;
    return before;
}
template <typename T> inline T __ldg(const T *at) { return *at; }
