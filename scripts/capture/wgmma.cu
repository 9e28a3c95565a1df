// Batches of wgmma.mma_async, m64n8: one warpgroup a tile, A and B from shared memory, C and D in registers.
//
// The images of A (2048 bytes) and B (256 bytes) come ready from fragments.py; a kernel copies them, describes them to
// the tensor core and stores the words of D, [tile][thread][register]. `leading` and `stride` are the byte offsets
// between core matrices that go into the descriptors; the caller tries both meanings until its self-test passes.
// Needs sm_90a.

__device__ unsigned long long describe(const void *where, unsigned leading, unsigned stride) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(where));
  return static_cast<unsigned long long>((address & 0x3FFFF) >> 4) |
         static_cast<unsigned long long>((leading & 0x3FFFF) >> 4) << 16 |
         static_cast<unsigned long long>((stride & 0x3FFFF) >> 4) << 32;
}

#define WGMMA(NAME, REGISTERS, ISSUE)                                                                        \
  extern "C" __global__ void __launch_bounds__(128) NAME(const unsigned *a, const unsigned *b,               \
                                                         const unsigned *c, unsigned *d, unsigned leading,   \
                                                         unsigned stride) {                                  \
    __shared__ __align__(1024) unsigned left[512];                                                           \
    __shared__ __align__(1024) unsigned right[64];                                                           \
    const unsigned thread = threadIdx.x;                                                                     \
    const unsigned long long tile = blockIdx.x;                                                              \
    for (unsigned i = thread; i < 512; i += 128) left[i] = a[tile * 512 + i];                                \
    if (thread < 64) right[thread] = b[tile * 64 + thread];                                                  \
    unsigned r[REGISTERS];                                                                                   \
    for (int i = 0; i < REGISTERS; i++) r[i] = c[(tile * 128 + thread) * REGISTERS + i];                     \
    /* ordinary stores are read by the tensor core's own path to memory */                                   \
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");                                             \
    __syncthreads();                                                                                         \
    const unsigned long long p = describe(left, leading, stride), q = describe(right, leading, stride);      \
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");                                                  \
    ISSUE;                                                                                                   \
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");                                           \
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");                                           \
    for (int i = 0; i < REGISTERS; i++) d[(tile * 128 + thread) * REGISTERS + i] = r[i];                     \
  }

// D = A B + D: the predicate is true. The last immediates are signs of A and B, then (16-bit types) transposition.
#define ISSUE_4(PTX, IMMEDIATES)                                                                             \
  asm volatile("{ .reg .pred keep; setp.eq.u32 keep, 0, 0; " PTX                                             \
               " {%0, %1, %2, %3}, %4, %5, keep" IMMEDIATES "; }"                                            \
               : "+r"(r[0]), "+r"(r[1]), "+r"(r[2]), "+r"(r[3])                                              \
               : "l"(p), "l"(q)                                                                              \
               : "memory")
#define ISSUE_2(PTX, IMMEDIATES)                                                                             \
  asm volatile("{ .reg .pred keep; setp.eq.u32 keep, 0, 0; " PTX " {%0, %1}, %2, %3, keep" IMMEDIATES "; }"  \
               : "+r"(r[0]), "+r"(r[1])                                                                      \
               : "l"(p), "l"(q)                                                                              \
               : "memory")

#define W "wgmma.mma_async.sync.aligned."
WGMMA(wgmma_m64n8k16_f32_f16_f16, 4, ISSUE_4(W "m64n8k16.f32.f16.f16", ", 1, 1, 0, 0"))
WGMMA(wgmma_m64n8k16_f16_f16_f16, 2, ISSUE_2(W "m64n8k16.f16.f16.f16", ", 1, 1, 0, 0"))
WGMMA(wgmma_m64n8k16_f32_bf16_bf16, 4, ISSUE_4(W "m64n8k16.f32.bf16.bf16", ", 1, 1, 0, 0"))
WGMMA(wgmma_m64n8k8_f32_tf32_tf32, 4, ISSUE_4(W "m64n8k8.f32.tf32.tf32", ", 1, 1"))
WGMMA(wgmma_m64n8k32_f32_e4m3_e4m3, 4, ISSUE_4(W "m64n8k32.f32.e4m3.e4m3", ", 1, 1"))
WGMMA(wgmma_m64n8k32_f32_e5m2_e5m2, 4, ISSUE_4(W "m64n8k32.f32.e5m2.e5m2", ", 1, 1"))
WGMMA(wgmma_m64n8k32_f32_e4m3_e5m2, 4, ISSUE_4(W "m64n8k32.f32.e4m3.e5m2", ", 1, 1"))
WGMMA(wgmma_m64n8k32_f16_e4m3_e4m3, 2, ISSUE_2(W "m64n8k32.f16.e4m3.e4m3", ", 1, 1"))
WGMMA(wgmma_m64n8k32_f16_e5m2_e5m2, 2, ISSUE_2(W "m64n8k32.f16.e5m2.e5m2", ", 1, 1"))
WGMMA(wgmma_m64n8k32_s32_s8_s8, 4, ISSUE_4(W "m64n8k32.s32.s8.s8", ""))
WGMMA(wgmma_m64n8k32_s32_s8_s8_satfinite, 4, ISSUE_4(W "m64n8k32.s32.s8.s8.satfinite", ""))
