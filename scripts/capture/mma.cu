// Batches of mma.sync: one warp a tile, registers in, registers out.
//
// Which number lies in which register is fragments.py's business: a kernel loads the words of its lane, issues one
// instruction and stores the words of D. Arrays are [tile][lane][register]. No header is included, so that a runtime
// compiler needs nothing but this text.

#define LANE(T, REGISTERS, P) \
  const T *P##_lane = P + (static_cast<unsigned long long>(tile) * 32 + lane) * REGISTERS

#define BEGIN(NAME, T)                                                                                       \
  extern "C" __global__ void NAME(const T *a, const T *b, const T *c, T *d, unsigned tiles) {                \
    const unsigned lane = threadIdx.x % 32, tile = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;        \
    if (tile >= tiles) return;

#define STORE(T, REGISTERS)                                                                                  \
  T *d_lane = d + (static_cast<unsigned long long>(tile) * 32 + lane) * REGISTERS;


// A, B and D in 4, 2, 4 registers: most instructions with 32-bit results.
#define MMA_424(NAME, PTX)                                                                                   \
  BEGIN(NAME, unsigned) LANE(unsigned, 4, a); LANE(unsigned, 2, b); LANE(unsigned, 4, c); STORE(unsigned, 4) \
    asm volatile(PTX " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"                  \
                 : "=r"(d_lane[0]), "=r"(d_lane[1]), "=r"(d_lane[2]), "=r"(d_lane[3])                        \
                 : "r"(a_lane[0]), "r"(a_lane[1]), "r"(a_lane[2]), "r"(a_lane[3]), "r"(b_lane[0]),           \
                   "r"(b_lane[1]), "r"(c_lane[0]), "r"(c_lane[1]), "r"(c_lane[2]), "r"(c_lane[3]));          \
  }

// The same with two results in a register.
#define MMA_422(NAME, PTX)                                                                                   \
  BEGIN(NAME, unsigned) LANE(unsigned, 4, a); LANE(unsigned, 2, b); LANE(unsigned, 2, c); STORE(unsigned, 2) \
    asm volatile(PTX " {%0, %1}, {%2, %3, %4, %5}, {%6, %7}, {%8, %9};"                                      \
                 : "=r"(d_lane[0]), "=r"(d_lane[1])                                                          \
                 : "r"(a_lane[0]), "r"(a_lane[1]), "r"(a_lane[2]), "r"(a_lane[3]), "r"(b_lane[0]),           \
                   "r"(b_lane[1]), "r"(c_lane[0]), "r"(c_lane[1]));                                          \
  }

// Half the depth.
#define MMA_214(NAME, PTX)                                                                                   \
  BEGIN(NAME, unsigned) LANE(unsigned, 2, a); LANE(unsigned, 1, b); LANE(unsigned, 4, c); STORE(unsigned, 4) \
    asm volatile(PTX " {%0, %1, %2, %3}, {%4, %5}, {%6}, {%7, %8, %9, %10};"                                 \
                 : "=r"(d_lane[0]), "=r"(d_lane[1]), "=r"(d_lane[2]), "=r"(d_lane[3])                        \
                 : "r"(a_lane[0]), "r"(a_lane[1]), "r"(b_lane[0]), "r"(c_lane[0]), "r"(c_lane[1]),           \
                   "r"(c_lane[2]), "r"(c_lane[3]));                                                          \
  }

#define MMA_212(NAME, PTX)                                                                                   \
  BEGIN(NAME, unsigned) LANE(unsigned, 2, a); LANE(unsigned, 1, b); LANE(unsigned, 2, c); STORE(unsigned, 2) \
    asm volatile(PTX " {%0, %1}, {%2, %3}, {%4}, {%5, %6};"                                                  \
                 : "=r"(d_lane[0]), "=r"(d_lane[1])                                                          \
                 : "r"(a_lane[0]), "r"(a_lane[1]), "r"(b_lane[0]), "r"(c_lane[0]), "r"(c_lane[1]));          \
  }

// binary64: words of 64 bits.
typedef unsigned long long wide;

#define MMA64_112(NAME, PTX)                                                                                 \
  BEGIN(NAME, wide) LANE(wide, 1, a); LANE(wide, 1, b); LANE(wide, 2, c); STORE(wide, 2)                     \
    asm volatile(PTX " {%0, %1}, {%2}, {%3}, {%4, %5};"                                                      \
                 : "=l"(d_lane[0]), "=l"(d_lane[1])                                                          \
                 : "l"(a_lane[0]), "l"(b_lane[0]), "l"(c_lane[0]), "l"(c_lane[1]));                          \
  }

#define MMA64_424(NAME, PTX)                                                                                 \
  BEGIN(NAME, wide) LANE(wide, 4, a); LANE(wide, 2, b); LANE(wide, 4, c); STORE(wide, 4)                     \
    asm volatile(PTX " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"                  \
                 : "=l"(d_lane[0]), "=l"(d_lane[1]), "=l"(d_lane[2]), "=l"(d_lane[3])                        \
                 : "l"(a_lane[0]), "l"(a_lane[1]), "l"(a_lane[2]), "l"(a_lane[3]), "l"(b_lane[0]),           \
                   "l"(b_lane[1]), "l"(c_lane[0]), "l"(c_lane[1]), "l"(c_lane[2]), "l"(c_lane[3]));          \
  }

#define MMA64_844(NAME, PTX)                                                                                 \
  BEGIN(NAME, wide) LANE(wide, 8, a); LANE(wide, 4, b); LANE(wide, 4, c); STORE(wide, 4)                     \
    asm volatile(PTX " {%0, %1, %2, %3}, {%4, %5, %6, %7, %8, %9, %10, %11}, {%12, %13, %14, %15}, "         \
                     "{%16, %17, %18, %19};"                                                                 \
                 : "=l"(d_lane[0]), "=l"(d_lane[1]), "=l"(d_lane[2]), "=l"(d_lane[3])                        \
                 : "l"(a_lane[0]), "l"(a_lane[1]), "l"(a_lane[2]), "l"(a_lane[3]), "l"(a_lane[4]),           \
                   "l"(a_lane[5]), "l"(a_lane[6]), "l"(a_lane[7]), "l"(b_lane[0]), "l"(b_lane[1]),           \
                   "l"(b_lane[2]), "l"(b_lane[3]), "l"(c_lane[0]), "l"(c_lane[1]), "l"(c_lane[2]),           \
                   "l"(c_lane[3]));                                                                          \
  }

MMA_424(mma_m16n8k16_f32_f16_f16, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
MMA_422(mma_m16n8k16_f16_f16_f16, "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16")
MMA_424(mma_m16n8k16_f32_bf16_bf16, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")
MMA_214(mma_m16n8k8_f32_f16_f16, "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32")
MMA_212(mma_m16n8k8_f16_f16_f16, "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16")
MMA_214(mma_m16n8k8_f32_bf16_bf16, "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32")
MMA_424(mma_m16n8k8_f32_tf32_tf32, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")
MMA_214(mma_m16n8k4_f32_tf32_tf32, "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32")
MMA_424(mma_m16n8k32_s32_s8_s8, "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32")
MMA_424(mma_m16n8k32_s32_s8_s8_satfinite, "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32")
MMA_424(mma_m16n8k32_s32_u8_s8, "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32")
MMA64_112(mma_m8n8k4_f64_f64_f64, "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64")

#if __CUDA_ARCH__ >= 890
MMA_424(mma_m16n8k32_f32_e4m3_e4m3, "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32")
MMA_424(mma_m16n8k32_f32_e5m2_e5m2, "mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e5m2.f32")
MMA_424(mma_m16n8k32_f32_e4m3_e5m2, "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32")
MMA_422(mma_m16n8k32_f16_e4m3_e4m3, "mma.sync.aligned.m16n8k32.row.col.f16.e4m3.e4m3.f16")
MMA_422(mma_m16n8k32_f16_e5m2_e5m2, "mma.sync.aligned.m16n8k32.row.col.f16.e5m2.e5m2.f16")
#endif

#if __CUDA_ARCH__ >= 900
MMA64_424(mma_m16n8k8_f64_f64_f64, "mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64")
MMA64_844(mma_m16n8k16_f64_f64_f64, "mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64")
#endif
