/* A vendor's library that needs no device: it keeps a record of calls, works on ordinary memory, and fails when it is told to.
 * (What computes, and is as strict as the vendors' manuals, is backends/stand-in.)
 * Compiled once per test, for CUDA's names or (-DHIP) HIP's; a function is taken away by renaming it on the compiler's command line. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HIP
#define F(cuda, hip) int hip
#define NAME(cuda, hip) #hip
#else
#define F(cuda, hip) int cuda
#define NAME(cuda, hip) #cuda
#endif

static char record[1 << 16];
static size_t used;
static char failing[64];
static int failure, live, fault, capturing, devices = 2;
static uint64_t capacity = 1 << 20;
static double clock_ms;
static int overridden[16][2], overrides;
static __thread uintptr_t current;
static int active = 1, version;

struct operation { int kind; uint64_t to, from, bytes; };
static struct operation captured[64];
static int operations;
struct graph { int n; struct operation all[64]; };

const char *stub_record(void) { return record; }
void stub_clear(void) { used = 0; record[0] = 0; }
void stub_fail(const char *name, int code) { snprintf(failing, sizeof failing, "%s", name); failure = code; }
void stub_devices(int n) { devices = n; }
void stub_version(int v) { version = v; }
void stub_reset(void) { active = 0; }
int stub_live(void) { return live; }
uint64_t stub_current(void) { return current; }
void stub_set_current(uint64_t place) { current = place; }
void stub_attribute(int number, int value) { overridden[overrides][0] = number; overridden[overrides++][1] = value; }

static int enter(const char *name, const char *format, ...) {
  used += snprintf(record + used, sizeof record - used, "%s(", name);
  va_list list;
  va_start(list, format);
  used += vsnprintf(record + used, sizeof record - used, format, list);
  va_end(list);
  used += snprintf(record + used, sizeof record - used, ")\n");
  return strcmp(name, failing) == 0 ? failure : 0;
}

#define ENTER(cuda, hip, ...) do { int code = enter(NAME(cuda, hip), __VA_ARGS__); if (code) return code; } while (0)

static void *object(void) { live++; return calloc(1, 4096); }
static int gone(void *object) { live--; free(object); return 0; }

static int run(struct operation o) {
  if (o.kind == 2) ((void (*)(void *))o.to)((void *)o.from);
  else if (o.kind == 0) memmove((void *)o.to, (void *)o.from, o.bytes);
  else memset((void *)o.to, (int)o.from, o.bytes);
  return 0;
}

static int queue(struct operation o) {
  if (!capturing) return run(o);
  captured[operations++] = o;
  return 0;
}

F(cuInit, hipInit)(unsigned flags) { ENTER(cuInit, hipInit, "%u", flags); return 0; }
F(cuDeviceGetCount, hipGetDeviceCount)(int *n) { ENTER(cuDeviceGetCount, hipGetDeviceCount, ""); *n = devices; return 0; }
F(cuDeviceGet, hipDeviceGet)(int *d, int n) { ENTER(cuDeviceGet, hipDeviceGet, "%d", n); *d = n; return 0; }
F(cuDeviceTotalMem_v2, hipDeviceTotalMem)(size_t *b, int d) { ENTER(cuDeviceTotalMem_v2, hipDeviceTotalMem, "%d", d); *b = 96ull << 30; return 0; }
F(cuDeviceGetPCIBusId, hipDeviceGetPCIBusId)(char *t, int n, int d) { snprintf(t, n, "ffff:ff:1f.7"); return 0; }
F(cuMemGetInfo_v2, hipMemGetInfo)(size_t *f, size_t *a) { ENTER(cuMemGetInfo_v2, hipMemGetInfo, ""); *f = capacity; *a = 96ull << 30; return 0; }

F(cuDeviceGetAttribute, hipDeviceGetAttribute)(int *v, int number, int d) {
  ENTER(cuDeviceGetAttribute, hipDeviceGetAttribute, "%d", number);
  for (int i = 0; i < overrides; i++)
    if (overridden[i][0] == number) { *v = overridden[i][1]; return 0; }
#ifdef HIP
  static const int known[][2] = {{87, 64}, {63, 228}, {74, 65536}, {75, 0}, {10002, 65536}, {65, 1}, {66, 0}, {9, 1}, {16, 0}};
#else
  static const int known[][2] = {{10, 32}, {16, 132}, {97, 232448}, {8, 49152}, {81, 233472}, {111, 1024}, {88, 1}, {100, 1}, {89, 1}, {18, 0}, {134, 0}, {75, 9}, {76, 0}};
#endif
  for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i][0] == number) { *v = known[i][1]; return 0; }
  return 1;
}

#ifdef HIP
int hipDeviceGetName(char *t, int n, int d) { snprintf(t, n, "AMD Instinct MI300A"); return 0; }
int hipRuntimeGetVersion(int *v) { *v = version ? version : 60342134; return 0; }
int hipSetDevice(int d) { ENTER(, hipSetDevice, "%d", d); current = d; return 0; }
int hipGetDevice(int *d) { *d = (int)current; return 0; }
/* The layout of no version in particular. */
static int properties(char *p) { memset(p, 1, 1472); strcpy(p, "AMD Instinct gfx MI300A"); p[900] = 0; strcpy(p + 901, "gfx942:sramecc+:xnack-"); return 0; }
int hipGetDevicePropertiesR0600(void *p, int d) { ENTER(, hipGetDevicePropertiesR0600, "%d", d); return properties(p); }
int hipGetDeviceProperties(void *p, int d) { ENTER(, hipGetDeviceProperties, "%d", d); return properties(p); }
const char *hipGetErrorName(int code) { return code == 700 ? "hipErrorIllegalAddress" : code == 2 ? "hipErrorOutOfMemory" : "hipErrorStub"; }
const char *hipGetErrorString(int code) { return "stub"; }
int hipMemcpyAsync(uint64_t to, uint64_t from, size_t n, int kind, void *s) { ENTER(, hipMemcpyAsync, "%zu, %d", n, kind); return queue((struct operation){0, to, from, n}); }
#else
int cuDeviceGetName(char *t, int n, int d) { snprintf(t, n, "NVIDIA GH200"); return 0; }
int cuDriverGetVersion(int *v) { *v = version ? version : 12040; return 0; }
int cuDevicePrimaryCtxRetain(uintptr_t *c, int d) { ENTER(cuDevicePrimaryCtxRetain, , "%d", d); live++; *c = 0x1000 + d; return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { ENTER(cuDevicePrimaryCtxRelease_v2, , "%d", d); live--; return 0; }
int cuDevicePrimaryCtxGetState(int d, unsigned *f, int *a) { *a = active; return 0; }
int cuCtxGetCurrent(uintptr_t *c) { *c = current; return 0; }
int cuCtxSetCurrent(uintptr_t c) { ENTER(cuCtxSetCurrent, , "%lx", c); current = c; return 0; }
int cuGetErrorName(int code, const char **t) { if (code == 9999) return 1; *t = code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_STUB"; return 0; }
int cuGetErrorString(int code, const char **t) { if (code == 9999) return 1; *t = "stub"; return 0; }
int cuMemcpyAsync(uint64_t to, uint64_t from, size_t n, void *s) { ENTER(cuMemcpyAsync, , "%zu", n); return queue((struct operation){0, to, from, n}); }
int cuGraphUpload(void *e, void *s) { ENTER(cuGraphUpload, , ""); return 0; }
int cuFuncSetAttribute(void *f, int a, int v) { ENTER(cuFuncSetAttribute, , "%d, %d", a, v); return 0; }
#endif

static int take(void **p, size_t n) {
  if (n > capacity) return 2;
  live++;
  *p = aligned_alloc(256, (n + 255) / 256 * 256);
  memset(*p, 0x5a, n);
  return 0;
}

F(cuMemAlloc_v2, hipMalloc)(void **p, size_t n) { ENTER(cuMemAlloc_v2, hipMalloc, "%zu", n); return take(p, n); }
F(cuMemHostAlloc, hipHostMalloc)(void **p, size_t n, unsigned f) { ENTER(cuMemHostAlloc, hipHostMalloc, "%zu, %u", n, f); return take(p, n); }
F(cuMemAllocManaged, hipMallocManaged)(void **p, size_t n, unsigned f) { ENTER(cuMemAllocManaged, hipMallocManaged, "%zu, %u", n, f); return take(p, n); }
F(cuMemFree_v2, hipFree)(void *p) { ENTER(cuMemFree_v2, hipFree, ""); return gone(p); }
F(cuMemFreeHost, hipHostFree)(void *p) { ENTER(cuMemFreeHost, hipHostFree, ""); return gone(p); }

struct location { int kind, id; };
F(cuMemAdvise, hipMemAdvise)(uint64_t p, size_t n, int a, int d) { ENTER(cuMemAdvise, hipMemAdvise, "%zu, %d, %d", n, a, d); return 0; }
F(cuMemAdvise_v2, hipMemAdvise_v2)(uint64_t p, size_t n, int a, struct location l) { ENTER(cuMemAdvise_v2, hipMemAdvise_v2, "%zu, %d, %d:%d", n, a, l.kind, l.id); return 0; }
F(cuMemPrefetchAsync, hipMemPrefetchAsync)(uint64_t p, size_t n, int d, void *s) { ENTER(cuMemPrefetchAsync, hipMemPrefetchAsync, "%zu, %d", n, d); return 0; }
F(cuMemPrefetchAsync_v2, hipMemPrefetchAsync_v2)(uint64_t p, size_t n, struct location l, unsigned f, void *s) {
  ENTER(cuMemPrefetchAsync_v2, hipMemPrefetchAsync_v2, "%zu, %d:%d, %u", n, l.kind, l.id, f);
  return 0;
}

F(cuMemsetD8Async, hipMemsetD8Async)(uint64_t to, unsigned char b, size_t n, void *s) { ENTER(cuMemsetD8Async, hipMemsetD8Async, "%u, %zu", b, n); return queue((struct operation){1, to, b, n}); }
F(cuLaunchHostFunc, hipLaunchHostFunc)(void *s, void (*f)(void *), void *p) { ENTER(cuLaunchHostFunc, hipLaunchHostFunc, ""); return queue((struct operation){2, (uint64_t)f, (uint64_t)p, 0}); }
F(cuStreamCreate, hipStreamCreateWithFlags)(void **s, unsigned f) { ENTER(cuStreamCreate, hipStreamCreateWithFlags, "%u", f); *s = object(); return 0; }
F(cuStreamCreateWithPriority, hipStreamCreateWithPriority)(void **s, unsigned f, int p) { ENTER(cuStreamCreateWithPriority, hipStreamCreateWithPriority, "%u, %d", f, p); *s = object(); return 0; }
F(cuStreamDestroy_v2, hipStreamDestroy)(void *s) { ENTER(cuStreamDestroy_v2, hipStreamDestroy, ""); capturing = 0; return gone(s); }
F(cuStreamSynchronize, hipStreamSynchronize)(void *s) { ENTER(cuStreamSynchronize, hipStreamSynchronize, ""); return fault; }
F(cuStreamWaitEvent, hipStreamWaitEvent)(void *s, void *e, unsigned f) { ENTER(cuStreamWaitEvent, hipStreamWaitEvent, "%u", f); return 0; }
F(cuEventCreate, hipEventCreateWithFlags)(void **e, unsigned f) { ENTER(cuEventCreate, hipEventCreateWithFlags, "%u", f); *e = object(); return 0; }
F(cuEventDestroy_v2, hipEventDestroy)(void *e) { ENTER(cuEventDestroy_v2, hipEventDestroy, ""); return gone(e); }
F(cuEventRecord, hipEventRecord)(double *e, void *s) { ENTER(cuEventRecord, hipEventRecord, ""); *e = clock_ms += 1.5; return 0; }
F(cuEventElapsedTime, hipEventElapsedTime)(float *ms, double *a, double *b) { ENTER(cuEventElapsedTime, hipEventElapsedTime, ""); *ms = (float)(*b - *a); return 0; }

F(cuModuleLoadData, hipModuleLoadData)(void **m, const char *image) {
  ENTER(cuModuleLoadData, hipModuleLoadData, "");
  if (memcmp(image, "\177ELF", 4)) return 200;
  *m = object();
  return 0;
}
F(cuModuleUnload, hipModuleUnload)(void *m) { ENTER(cuModuleUnload, hipModuleUnload, ""); return gone(m); }

static const char *const kernels[] = {"scale", "fault"};
F(cuModuleGetFunction, hipModuleGetFunction)(const char **f, void *m, const char *name) {
  ENTER(cuModuleGetFunction, hipModuleGetFunction, "%s", name);
  for (int i = 0; i < 2; i++)
    if (!strcmp(kernels[i], name)) { *f = kernels[i]; return 0; }
  return 500;
}
F(cuFuncGetAttribute, hipFuncGetAttribute)(int *v, int a, void *f) {
  ENTER(cuFuncGetAttribute, hipFuncGetAttribute, "%d", a);
  static const int values[] = {1024, 128, 0, 16, 40, 0, 0, 0, 49024};
  *v = values[a];
  return 0;
}

/* scale(double *y, u64 first, u32 n, double factor) */
F(cuLaunchKernel, hipModuleLaunchKernel)(const char *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                         unsigned shared, void *s, void **p, void **extra) {
  ENTER(cuLaunchKernel, hipModuleLaunchKernel, "%s, %u %u %u, %u %u %u, %u", f, gx, gy, gz, bx, by, bz, shared);
  if (!strcmp(f, "fault")) { fault = 700; return 0; }
  double *y = *(double **)p[0] + *(uint64_t *)p[1];
  for (uint32_t i = 0; i < *(uint32_t *)p[2]; i++) y[i] *= *(double *)p[3];
  return 0;
}

F(cuStreamBeginCapture_v2, hipStreamBeginCapture)(void *s, int mode) { ENTER(cuStreamBeginCapture_v2, hipStreamBeginCapture, "%d", mode); capturing = 1; operations = 0; return 0; }
F(cuStreamEndCapture, hipStreamEndCapture)(void *s, struct graph **g) {
#ifndef HIP
  capturing = 0; /* also where it fails; HIP's streams go on recording then */
#endif
  ENTER(cuStreamEndCapture, hipStreamEndCapture, "");
  capturing = 0;
  *g = object();
  (*g)->n = operations;
  memcpy((*g)->all, captured, sizeof captured);
  return 0;
}
F(cuGraphInstantiateWithFlags, hipGraphInstantiateWithFlags)(struct graph **e, struct graph *g, unsigned long long f) {
  ENTER(cuGraphInstantiateWithFlags, hipGraphInstantiateWithFlags, "%llu", f);
  *e = object();
  **e = *g;
  return 0;
}
F(cuGraphLaunch, hipGraphLaunch)(struct graph *e, void *s) { ENTER(cuGraphLaunch, hipGraphLaunch, ""); for (int i = 0; i < e->n; i++) run(e->all[i]); return 0; }
F(cuGraphDestroy, hipGraphDestroy)(void *g) { ENTER(cuGraphDestroy, hipGraphDestroy, ""); return gone(g); }
F(cuGraphExecDestroy, hipGraphExecDestroy)(void *g) { ENTER(cuGraphExecDestroy, hipGraphExecDestroy, ""); return gone(g); }
