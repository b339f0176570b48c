// AMD's own functions on the emulated device, for kernels that were made from LLVM's intermediate form (ir.rs): waves of 64 lanes.
// A kernel's array is this one: what was compiled knows it by its name.
extern "C" {
__attribute__((visibility("hidden"))) alignas(1024) char shared_memory[256 << 10];
}
namespace amd {
typedef float Four __attribute__((vector_size(16)));
const u32 WAVE = 64;
static void begin(const weir::Raw *args, u32 count) {
  if (weir::state.run->shared > sizeof shared_memory) machine::fault(0, "more shared memory than there is");
  machine::begin(args, count, WAVE, shared_memory);
}
// Addresses of device and shared memory look alike.
template <machine::How how> static void access(u32 line, u32 bytes, u32 align, const char *p) {
  u64 address = (u64)(uintptr_t)p, offset = address - (u64)(uintptr_t)shared_memory;
  if (address % align) machine::fault(line, "memory not at a multiple of the bytes that were promised");
  if (offset < sizeof shared_memory)
    machine::shared<how>(line, machine::SHARED + offset, bytes, 1);
  else
    machine::global<how>(line, address, bytes, 1);
}
} // namespace amd

extern "C" {
u32 weir_amd_workitem_id_x(u32) { return weir::state.thread; }
u32 weir_amd_workgroup_id_x(u32) { return weir::state.block; }
// Of what is dispatched only the threads of the grid are known, at 12 bytes.
static u32 weir_amd_packet[16];
const void *weir_amd_dispatch_ptr(u32) {
  weir_amd_packet[3] = weir::state.run->grid * weir::state.run->threads;
  return weir_amd_packet;
}
void weir_amd_s_barrier(u32 line) { machine::wait_for_all(line, amd::WAVE); }
// Of numbers that all lanes have alike.
u32 weir_amd_readfirstlane_i32(u32 line, u32 x) {
  const machine::Met *all = machine::meet(line, &x, 1, amd::WAVE);
  for (u32 lane = 0; lane < amd::WAVE; lane++)
    if (all[lane].bits[0] != x) machine::fault(line, "lanes differ in what is taken for the wave's");
  return x;
}
u32 weir_amd_readfirstlane(u32 line, u32 x) { return weir_amd_readfirstlane_i32(line, x); }
float weir_amd_rcp_f32(u32, float x) { return estimate(x); }
float weir_amd_exp2_f32(u32, float x) { return power_of_two(x); }
// 16 x 16 x 4: lane l has row l % 16 of the left factor and column l % 16 of the right one at depth l / 16, and of the sums column l % 16 in the
// rows from 4 (l / 16) on.
amd::Four weir_amd_mfma_f32_16x16x4f32(u32 line, float a, float b, amd::Four c, u32 broadcast, u32 which, u32 turn) {
  if (broadcast | which | turn) machine::fault(line, "a matrix unit's lanes in another order");
  u32 bits[2] = {machine::get<u32>(a), machine::get<u32>(b)};
  const machine::Met *all = machine::meet(line, bits, 2, amd::WAVE);
  u32 lane = weir::state.thread % amd::WAVE, column = lane % 16;
  for (u32 i = 0; i < 4; i++) {
    u32 row = lane / 16 * 4 + i;
    for (u32 k = 0; k < 4; k++) c[i] = __builtin_fmaf(machine::get<float>(all[16 * k + row].bits[0]), machine::get<float>(all[16 * k + column].bits[1]), c[i]);
  }
  return c;
}

void weir_amd_reads(u32 line, u32 bytes, u32 align, const char *p) {
  if (p == (const char *)(weir_amd_packet + 3) && bytes == 4) return;
  amd::access<machine::READ>(line, bytes, align, p);
}
void weir_amd_adds(u32 line, u32, u32, const char *p) { machine::sums(line, (u64)(uintptr_t)p); }
void weir_amd_writes(u32 line, u32 bytes, u32 align, const char *p) { amd::access<machine::WRITE>(line, bytes, align, p); }
}
