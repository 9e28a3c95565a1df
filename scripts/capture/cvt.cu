// Conversions: over all inputs as a hash for each 2^20 of them, and of given inputs in full.
//
// hash = sum over inputs of mix(2^32 input + output) modulo 2^64, mix being SplitMix64's finaliser; the order of the
// additions does not matter. `chunk_NAME` has a block for each chunk, which begins at `first`; `each_NAME` converts n words.

__device__ unsigned long long mix(unsigned long long z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

#define CVT(NAME, BODY)                                                                                      \
  __device__ __forceinline__ unsigned convert_##NAME(unsigned x) {                                           \
    unsigned d = 0;                                                                                          \
    unsigned short h = 0;                                                                                    \
    BODY;                                                                                                    \
    return d | h;                                                                                            \
  }                                                                                                          \
  extern "C" __global__ void chunk_##NAME(unsigned long long *hashes, unsigned first, unsigned size) {       \
    const unsigned start = (first + blockIdx.x) * size;                                                      \
    unsigned long long sum = 0;                                                                              \
    for (unsigned i = threadIdx.x; i < size; i += blockDim.x) {                                              \
      const unsigned x = start + i;                                                                          \
      sum += mix(static_cast<unsigned long long>(x) << 32 | convert_##NAME(x));                              \
    }                                                                                                        \
    atomicAdd(hashes + blockIdx.x, sum);                                                                     \
  }                                                                                                          \
  extern "C" __global__ void each_##NAME(const unsigned *x, unsigned *d, unsigned n) {                       \
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;                                                \
    if (i < n) d[i] = convert_##NAME(x[i]);                                                                  \
  }

#define TO_16(NAME, PTX) CVT(NAME, asm(PTX " %0, %1;" : "=h"(h) : "f"(__uint_as_float(x))))
#define TO_32(NAME, PTX) CVT(NAME, asm(PTX " %0, %1;" : "=r"(d) : "f"(__uint_as_float(x))))
// Two results in a register: the number's is the lower one, the upper one is that of 0.
#define TO_PAIR(NAME, PTX)                                                                                   \
  CVT(NAME, asm(PTX " %0, %1, %2;" : "=h"(h) : "f"(0.0f), "f"(__uint_as_float(x))); h &= 0xFF)
#define HALF_TO_PAIR(NAME, PTX)                                                                              \
  CVT(NAME, asm(PTX " %0, %1;" : "=h"(h) : "r"(x & 0xFFFF)); h &= 0xFF)
#define PAIR_TO_HALF(NAME, PTX)                                                                              \
  CVT(NAME, asm(PTX " %0, %1;" : "=r"(d) : "h"(static_cast<unsigned short>(x & 0xFF))); d &= 0xFFFF)

TO_16(rn_f16_f32, "cvt.rn.f16.f32")
TO_16(rz_f16_f32, "cvt.rz.f16.f32")
TO_16(rm_f16_f32, "cvt.rm.f16.f32")
TO_16(rp_f16_f32, "cvt.rp.f16.f32")
TO_16(rn_bf16_f32, "cvt.rn.bf16.f32")
TO_16(rz_bf16_f32, "cvt.rz.bf16.f32")
TO_32(rna_tf32_f32, "cvt.rna.tf32.f32")

#if __CUDA_ARCH__ >= 890
TO_PAIR(rn_satfinite_e4m3_f32, "cvt.rn.satfinite.e4m3x2.f32")
TO_PAIR(rn_satfinite_e5m2_f32, "cvt.rn.satfinite.e5m2x2.f32")
HALF_TO_PAIR(rn_satfinite_e4m3_f16, "cvt.rn.satfinite.e4m3x2.f16x2")
HALF_TO_PAIR(rn_satfinite_e5m2_f16, "cvt.rn.satfinite.e5m2x2.f16x2")
PAIR_TO_HALF(rn_f16_e4m3, "cvt.rn.f16x2.e4m3x2")
PAIR_TO_HALF(rn_f16_e5m2, "cvt.rn.f16x2.e5m2x2")
#endif

#if __CUDA_ARCH__ >= 900
TO_32(rn_tf32_f32, "cvt.rn.tf32.f32")
TO_32(rz_tf32_f32, "cvt.rz.tf32.f32")
#endif

#if defined(__CUDA_ARCH_FEAT_SM100_ALL) || defined(__CUDA_ARCH_FEAT_SM120_ALL)
#define TO_BYTE(NAME, PTX, MASK)                                                                             \
  CVT(NAME, asm("{ .reg .b8 pair; " PTX " pair, %1, %2; cvt.u16.u8 %0, pair; }"                              \
                : "=h"(h) : "f"(0.0f), "f"(__uint_as_float(x))); h &= MASK)
TO_BYTE(rn_satfinite_e2m1_f32, "cvt.rn.satfinite.e2m1x2.f32", 0xF)
TO_PAIR(rn_satfinite_e2m3_f32, "cvt.rn.satfinite.e2m3x2.f32")
TO_PAIR(rn_satfinite_e3m2_f32, "cvt.rn.satfinite.e3m2x2.f32")
TO_PAIR(rz_satfinite_e8m0_f32, "cvt.rz.satfinite.ue8m0x2.f32")
TO_PAIR(rp_satfinite_e8m0_f32, "cvt.rp.satfinite.ue8m0x2.f32")
#endif
