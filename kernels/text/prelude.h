// What every target has, under one set of names. WEIR_CUDA, WEIR_HIP or WEIR_HOST is defined by the compiling side; REAL (float or
// double), THREADS, WAVE and the widths of a model by the source.

// How matrix products are made (`Products`, kernels/src).
#define PLAIN 0
// One product of numbers rounded to TF32 (10 bits behind the point): errors of 1e-3 of a product.
#define TF32 1
// hi hi + hi lo + lo hi of numbers cut in two: about f32's own error.
#define TF32X3 2
// f32 by AMD's matrix cores.
#define MFMA 3
// As TF32X3, of halves: as many bits, half as many instructions of matrix units and half as many bytes of weights, for numbers up to 65504. What
// is larger becomes no number, and whoever asked for it is told. What a number is short of its half is rounded to 2^-25 where it is small.
#define F16X3 4
#if !defined(PRODUCTS)
#define PRODUCTS PLAIN
#endif
// By matrix units of CUDA's chips.
#define TENSOR_CORES (PRODUCTS == TF32 || PRODUCTS == TF32X3 || PRODUCTS == F16X3)

#if !defined(WEIR_HOST)
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;

// Blocks on a multiprocessor that registers should do for. HIP's compilers would take the number for waves on a SIMD.
#if defined(WEIR_HIP)
#define WEIR_BOUNDS(n, blocks) __attribute__((amdgpu_flat_work_group_size(1, n)))
#else
#define WEIR_BOUNDS(n, blocks) __launch_bounds__(n, blocks)
#endif
#if defined(WEIR_HIP) && !defined(__HIPCC_RTC__)
// Without ROCm's headers: what the compiler itself offers.
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __forceinline__ inline __attribute__((always_inline))
static __device__ __forceinline__ u32 thread() { return __builtin_amdgcn_workitem_id_x(); }
static __device__ __forceinline__ u32 block() { return __builtin_amdgcn_workgroup_id_x(); }
static __device__ __forceinline__ u32 blocks() { return __builtin_amdgcn_grid_size_x() / THREADS; }
static __device__ __forceinline__ void barrier() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
#else
static __device__ __forceinline__ u32 thread() { return threadIdx.x; }
static __device__ __forceinline__ u32 block() { return blockIdx.x; }
static __device__ __forceinline__ u32 blocks() { return gridDim.x; }
static __device__ __forceinline__ void barrier() { __syncthreads(); }
#endif

#define DEVICE static __device__ __forceinline__
#define METHOD __device__ __forceinline__
#if defined(__clang__)
// A last word that is called several times would be a function with its captures in memory.
#define LAMBDA [&] [[clang::always_inline]]
#else
#define LAMBDA [&]
#endif
#define UNROLL _Pragma("unroll")
// Long loops of constant length: unrolled whole they would hold more values than there are registers.
#define UNROLL_SOME _Pragma("unroll 4")
// Loops whose bodies fill the registers.
#define UNROLL_TWO _Pragma("unroll 2")
#define UNROLL_NOT _Pragma("unroll 1")
// With four, kernels by products of halves could not ask for anything ahead of its use.
#define BLOCKS_OF_UNIT 3
// Four for a kernel that does with fewer in those on sm_90 (on sm_80 and sm_100a four would put registers into memory, NVRTC 12.8).
#define KERNEL_OF_FOUR(name) extern "C" __global__ void WEIR_BOUNDS(THREADS, PRODUCTS == F16X3 && __CUDA_ARCH__ / 100 == 9 ? 4 : BLOCKS_OF_UNIT) name
#define KERNEL(name) extern "C" __global__ void WEIR_BOUNDS(THREADS, BLOCKS_OF_UNIT) name
// Before sm_90 shared memory holds two blocks of this kernel in f64, not three: then registers need not do for three (one was spilt on sm_80).
#define KERNEL_OF_WIDE_ROWS(name) extern "C" __global__ void WEIR_BOUNDS(THREADS, sizeof(REAL) == 8 && __CUDA_ARCH__ < 900 ? 2 : BLOCKS_OF_UNIT) name
#define EXPORT(name)
// Arrays in device memory that a kernel reads, or writes too; in which threads of a block hand each other numbers, across a barrier (compilers
// may take a barrier for nothing to an array that is `restrict`), or of which two may be one.
#define IN(T) const T *__restrict__
#define OUT(T) T *__restrict__
#define HANDED(T) T *
// Arrays in the block's shared memory.
#define LOCAL(T) T *
extern __shared__ double shared_memory[];
template <class T> DEVICE T *shared_at(u32 bytes) { return (T *)((char *)shared_memory + bytes); }
#if defined(WEIR_CUDA)
// `thread`, asked anew: what follows from it is worked out where it is used and waits in no register until the next round of a loop around it
// (where registers are short, compilers keep it in memory).
static __device__ __forceinline__ u32 thread_anew() {
  u32 t;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(t));
  return t;
}
static __device__ __forceinline__ u32 block_anew() {
  u32 b;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(b));
  return b;
}
static __device__ __forceinline__ u32 blocks_anew() {
  u32 b;
  asm volatile("mov.u32 %0, %%nctaid.x;" : "=r"(b));
  return b;
}
// The same of a number in device memory.
static __device__ __forceinline__ u32 read_anew(IN(u32) a, u32 at) {
  u32 x;
  asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(x) : "l"(a + at));
  return x;
}
// A number that all lanes of a wave have: said so, it needs one register of the wave instead of one of every lane.
DEVICE u32 uniform(u32 x) { return __shfl_sync(0xffffffffu, x, 0); }
DEVICE float fma_(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE double fma_(double a, double b, double c) { return __fma_rn(a, b, c); }
DEVICE double sqrt_(double x) { return __dsqrt_rn(x); }
DEVICE float larger(float a, float b) { return fmaxf(a, b); }
DEVICE double larger(double a, double b) { return fmax(a, b); }
DEVICE float estimate(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
#else
static __device__ __forceinline__ u32 thread_anew() { return thread(); }
static __device__ __forceinline__ u32 block_anew() { return block(); }
static __device__ __forceinline__ u32 blocks_anew() { return blocks(); }
static __device__ __forceinline__ u32 read_anew(IN(u32) a, u32 at) { return a[at]; }
DEVICE u32 uniform(u32 x) { return __builtin_amdgcn_readfirstlane(x); }
DEVICE float fma_(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DEVICE double fma_(double a, double b, double c) { return __builtin_fma(a, b, c); }
DEVICE double sqrt_(double x) { return __builtin_sqrt(x); }
DEVICE float larger(float a, float b) { return __builtin_fmaxf(a, b); }
DEVICE double larger(double a, double b) { return __builtin_fmax(a, b); }
DEVICE float estimate(float x) { return __builtin_amdgcn_rcpf(x); }
DEVICE float power_of_two(float x) { return __builtin_amdgcn_exp2f(x); }
#endif
// `estimate`: 1 / x as the units for special functions have it, an ulp off at most (both vendors); `power_of_two`: 2^x, two ulps off at most
// (PTX; one by AMD). The emulated device disturbs both by as much.
// 1 / x of a number between 2^-126 and 2^126: the estimate, made the nearest by one step of Newton's.
DEVICE float reciprocal(float x) {
  float y = estimate(x);
  return fma_(y, fma_(-x, y, 1.0f), y);
}
#if defined(WEIR_CUDA)
// NVRTC knows `__builtin_bit_cast` from 12.3 on.
DEVICE double from_bits(u64 b) { return __longlong_as_double((long long)b); }
DEVICE float from_bits(u32 b) { return __uint_as_float(b); }
DEVICE u32 to_bits(float x) { return __float_as_uint(x); }
#else
DEVICE double from_bits(u64 b) { return __builtin_bit_cast(double, b); }
DEVICE float from_bits(u32 b) { return __builtin_bit_cast(float, b); }
DEVICE u32 to_bits(float x) { return __builtin_bit_cast(u32, x); }
#endif
// Sums of whole numbers, whose order leaves no trace. Returns the old value.
#if defined(WEIR_HIP) && !defined(__HIPCC_RTC__)
DEVICE u32 atomic_add(u32 *at, u64 k, u32 value) {
  return __hip_atomic_fetch_add(at + k, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
}
#else
DEVICE u32 atomic_add(u32 *at, u64 k, u32 value) { return atomicAdd(at + k, value); }
#endif
#define COUNT_ACTIVATION()
#endif

DEVICE double reciprocal(double x) { return 1.0 / x; }
typedef REAL real;
