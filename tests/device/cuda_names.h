/* cuda_names: the names of CUDA that kernels.cl uses, so that clang can compile it without CUDA being
 * installed (tests/full/device_kernels.sh). With NVRTC they are built in. */
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __align__(n) __attribute__((aligned(n)))
struct float2 {
    float x, y;
};
struct __attribute__((aligned(16))) float4 {
    float x, y, z, w;
};
struct dim {
    int x, y, z;
};
extern __device__ const dim blockIdx, threadIdx;
__device__ void __syncthreads();
__device__ float2 make_float2(float, float);
__device__ float4 make_float4(float, float, float, float);
__device__ inline float fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}
__device__ float exp(float);
__device__ inline int isnan(float a)
{
    return a != a;
}
__device__ inline int signbit(float a)
{
    return __builtin_signbitf(a);
}
