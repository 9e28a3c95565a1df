/* CUDA's runtime with one device whose memory is the host's. Kernels are not launched: simulated_device.py runs them on the CPU. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 13000 };
static const size_t MEMORY = (size_t)8 << 30;

static void *handle(void) { return malloc(16); }
static void *room(size_t n) { return aligned_alloc(512, n / 512 * 512 + 512); }
static int nothing(void) { return cudaSuccess; }
static int active(int device, unsigned *flags, int *is) { return *flags = 0, *is = 1, cudaSuccess; }

cudaError_t cudaGetDeviceCount(int *n) { return *n = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int *n) { return *n = 0, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *n) { return *n = VERSION, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *n) { return *n = VERSION, cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t *free, size_t *all) { return *free = *all = MEMORY, cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr what, int device) { return *value = 0, cudaSuccess; }
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *most) { return *least = *most = 0, cudaSuccess; }
const char *cudaGetErrorString(cudaError_t error) { return "simulated"; }
const char *cudaGetErrorName(cudaError_t error) { return "simulated"; }

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
  memset(p, 0, sizeof *p);
  strcpy(p->name, "simulated");
  p->major = 9;
  p->multiProcessorCount = 1;
  p->totalGlobalMem = MEMORY;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *made) { return *made = handle(), cudaSuccess; }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *made, unsigned f, int p) { return *made = handle(), cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t *made) { return *made = handle(), cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *made, unsigned f) { return *made = handle(), cudaSuccess; }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) { return *ms = 1, cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status) { return *status = 0, cudaSuccess; }

cudaError_t cudaMalloc(void **p, size_t n) { return (*p = room(n)) ? cudaSuccess : cudaErrorMemoryAllocation; }
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned f) { return cudaMalloc(p, n); }
cudaError_t cudaGetSymbolAddress(void **p, const void *symbol) { return cudaMalloc(p, 1 << 16); }
cudaError_t cudaFree(void *p) { return free(p), cudaSuccess; }
cudaError_t cudaFreeHost(void *p) { return free(p), cudaSuccess; }
cudaError_t cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind k) { return memmove(to, from, n), cudaSuccess; }
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind k, cudaStream_t s) {
  return cudaMemcpy(to, from, n, k);
}
cudaError_t cudaMemset(void *p, int value, size_t n) { return memset(p, value, n), cudaSuccess; }
cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t s) { return cudaMemset(p, value, n); }
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
  memset(a, 0, sizeof *a);
  return a->type = cudaMemoryTypeUnregistered, cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **p, unsigned version, unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *found) {
  *p = strcmp(name, "cuDevicePrimaryCtxGetState") ? (void *)nothing : (void *)active;
  if (found) *found = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

void **__cudaRegisterFatBinary(void *binary) { return handle(); }
static void refuse(void) {
  fputs("a kernel was launched, of an operation that simulated_device.py does not run\n", stderr);
  abort();
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st *s) { return refuse(), 1; }
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **args) { return refuse(), cudaSuccess; }
