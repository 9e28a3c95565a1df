// The conversions of NVIDIA's headers, as they are compiled for a host: one function over arrays.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp4.h>
#include <cuda_fp6.h>
#include <cuda_fp8.h>

#include <cstdint>
#include <cstring>

namespace {
enum Target { E4M3, E5M2, E8M0_UP, E8M0_ZERO, E2M3, E3M2, E2M1, HALF, BFLOAT, HALF_ZERO, BFLOAT_ZERO };

template <class T> struct Source;
template <> struct Source<double> {
    static uint16_t fp8(double x, __nv_saturation_t s, __nv_fp8_interpretation_t f) { return __nv_cvt_double_to_fp8(x, s, f); }
    static uint16_t e8m0(double x, __nv_saturation_t s, cudaRoundMode m) { return __nv_cvt_double_to_e8m0(x, s, m); }
    static uint16_t fp6(double x, __nv_fp6_interpretation_t f) { return __nv_cvt_double_to_fp6(x, f, cudaRoundNearest); }
    static uint16_t fp4(double x) { return __nv_cvt_double_to_fp4(x, __NV_E2M1, cudaRoundNearest); }
    static uint16_t half(double x) { return __half_raw(__double2half(x)).x; }
    static uint16_t bfloat(double x) { return __nv_bfloat16_raw(__double2bfloat16(x)).x; }
};
template <> struct Source<float> {
    static uint16_t fp8(float x, __nv_saturation_t s, __nv_fp8_interpretation_t f) { return __nv_cvt_float_to_fp8(x, s, f); }
    static uint16_t e8m0(float x, __nv_saturation_t s, cudaRoundMode m) { return __nv_cvt_float_to_e8m0(x, s, m); }
    static uint16_t fp6(float x, __nv_fp6_interpretation_t f) { return __nv_cvt_float_to_fp6(x, f, cudaRoundNearest); }
    static uint16_t fp4(float x) { return __nv_cvt_float_to_fp4(x, __NV_E2M1, cudaRoundNearest); }
    static uint16_t half(float x) { return __half_raw(__float2half_rn(x)).x; }
    static uint16_t bfloat(float x) { return __nv_bfloat16_raw(__float2bfloat16_rn(x)).x; }
};

template <class T> uint16_t one(T x, int target, __nv_saturation_t s) {
    switch (target) {
        case E4M3: return Source<T>::fp8(x, s, __NV_E4M3);
        case E5M2: return Source<T>::fp8(x, s, __NV_E5M2);
        case E8M0_UP: return Source<T>::e8m0(x, s, cudaRoundPosInf);
        case E8M0_ZERO: return Source<T>::e8m0(x, s, cudaRoundZero);
        case E2M3: return Source<T>::fp6(x, __NV_E2M3);
        case E3M2: return Source<T>::fp6(x, __NV_E3M2);
        case E2M1: return Source<T>::fp4(x);
        case HALF_ZERO: return __half_raw(__float2half_rz(static_cast<float>(x))).x;
        case BFLOAT_ZERO: return __nv_bfloat16_raw(__float2bfloat16_rz(static_cast<float>(x))).x;
        case HALF: return Source<T>::half(x);
        default: return Source<T>::bfloat(x);
    }
}
}  // namespace

// source: 4 or 8 bytes of a number; the headers widen binary16 and bfloat16 to float, exactly, and so does the caller.
extern "C" void cast(int bytes, int target, int finite, int64_t n, const void* x, uint16_t* out) {
    const auto mode = finite ? __NV_SATFINITE : __NV_NOSAT;
    for (int64_t i = 0; i < n; ++i)
        out[i] = bytes == 8 ? one(static_cast<const double*>(x)[i], target, mode)
                            : one(static_cast<const float*>(x)[i], target, mode);
}
