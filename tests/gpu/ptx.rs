//! PTX on the emulated device: what instructions make, and what hardware would not forgive.

use weir_backends::gpu::driver::{Arg, Driver, DriverError, Launch, Memory, Stream};
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, Watch};
use weir_kernels::compiled::{host_text, Compiled, CompiledError};
use weir_kernels::Source;

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 shared_memory[];\n";

/// A kernel whose thread number is in `%r1` (times four in `%rd4`), whose block in `%r2`, whose arguments in `%rd1` (read), `%rd2` (written) and
/// `%r3`; thread 0 has `%p1`.
fn kernel(name: &str, body: &str) -> String {
    format!(
        ".visible .entry {name}(\n.param .u64 a,\n.param .u64 b,\n.param .u32 c\n)\n.maxntid 128, 1, 1\n{{\n\
         .reg .pred %p<8>;\n.reg .b16 %rs<8>;\n.reg .b32 %r<32>;\n.reg .f32 %f<32>;\n.reg .b64 %rd<16>;\n.reg .f64 %fd<8>;\n\
         ld.param.u64 %rd1, [a];\nld.param.u64 %rd2, [b];\nld.param.u32 %r3, [c];\n\
         mov.u32 %r1, %tid.x;\nmov.u32 %r2, %ctaid.x;\nmul.wide.u32 %rd4, %r1, 4;\nsetp.eq.s32 %p1, %r1, 0;\n{body}\nret;\n}}\n"
    )
}

fn device(watch: Watch) -> Emulated {
    Emulated::new(EmulatedOptions {
        compiled: Some(Compiled::Cuda { chip: "sm_80", toolkit: 12 }),
        watch,
        ..Default::default()
    })
}

/// What each kernel does, on two arrays of 1024 bytes of which the first counts up from 0 in f32: the second, or why not.
fn run(watch: Watch, bodies: &[&str], grid: u32) -> Vec<Result<Vec<u32>, String>> {
    let kernels: String = bodies.iter().enumerate().map(|(k, body)| kernel(&format!("k{k}"), body)).collect();
    let prelude = Source::prelude(true);
    let text = host_text(&prelude, &(HEAD.to_string() + &kernels)).unwrap();
    launched(&device(watch), &Source { text, ..prelude }, bodies.len(), grid)
}

/// The same of the kernels k0, k1 .. of a source.
pub fn launched(driver: &Emulated, source: &Source, kernels: usize, grid: u32) -> Vec<Result<Vec<u32>, String>> {
    let folder = tempfile::tempdir().unwrap();
    let image = weir_kernels::host::compile(source, folder.path(), driver.compile_flags()).unwrap();
    let module = driver.load(&image).unwrap();
    let [from, to] = [(); 2].map(|()| driver.allocate(Memory::Device, 1024).unwrap());
    let host = driver.allocate(Memory::Pinned, 1024).unwrap();
    let numbers: Vec<f32> = (0..256u16).map(f32::from).collect();
    let run = |k: usize| {
        // So that it counts as written.
        driver.fill(Stream::Compute, host, 0, 1024)?;
        driver.synchronise(Stream::Compute)?;
        // SAFETY: pinned memory of the emulated device is this process's own, of 1024 bytes.
        unsafe { std::ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), host as *mut u8, 1024) };
        // SAFETY: two pieces of memory of 1024 bytes each.
        unsafe { driver.copy(Stream::Compute, from, host, 1024) }?;
        driver.fill(Stream::Compute, to, 0, 1024)?;
        let args = [Arg::Pointer(from, 1024), Arg::Pointer(to, 1024), Arg::U32(7)];
        let function = driver.function(module, &format!("k{k}"))?;
        driver.launch(&Launch { function, grid, block: 128, shared: 1024, stream: Stream::Compute, args: &args })?;
        driver.synchronise(Stream::Compute)?;
        // SAFETY: as above.
        unsafe { driver.copy(Stream::Compute, host, to, 1024) }?;
        driver.synchronise(Stream::Compute)?;
        let mut out = vec![0u32; 256];
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(host as *const u32, out.as_mut_ptr(), 256) };
        Ok(out)
    };
    (0..kernels).map(|k| run(k).map_err(|e: DriverError| e.to_string())).collect()
}

#[test]
fn instructions_make_what_the_manual_says() {
    let (one, nan) = (1.0f32.to_bits(), f32::NAN);
    let f = |x: f32| format!("0f{:08X}", x.to_bits());
    let d = |x: f64| format!("0d{:016X}", x.to_bits());
    let two_halves = |high: f32, low: f32| {
        format!("mov.f32 %f1, {}; mov.f32 %f2, {}; cvt.rn.f16x2.f32 %r9, %f1, %f2", f(high), f(low))
    };
    let cases: Vec<(String, u32)> = vec![
        // Whole numbers: they wrap, with a sign or without.
        ("mov.u32 %r4, -1; add.s32 %r9, %r4, 3".into(), 2),
        ("mov.u32 %r4, 1; sub.s32 %r9, %r4, 3".into(), 2u32.wrapping_neg()),
        ("mov.u32 %r4, 0x10001; mul.lo.s32 %r9, %r4, %r4".into(), 0x20001),
        ("mov.u32 %r4, -1; mul.hi.u32 %r9, %r4, %r4".into(), 0xffff_fffe),
        ("mov.u32 %r4, -2; mul.hi.s32 %r9, %r4, 3".into(), u32::MAX),
        ("mov.u16 %rs1, -1; mul.hi.u16 %rs2, %rs1, %rs1; cvt.u32.u16 %r9, %rs2".into(), 0xfffe),
        ("mov.u16 %rs1, -1; mul.lo.s16 %rs2, %rs1, %rs1; cvt.u32.u16 %r9, %rs2".into(), 1),
        ("mov.u64 %rd5, -1; mul.hi.u64 %rd6, %rd5, %rd5; cvt.u32.u64 %r9, %rd6".into(), 0xffff_fffe),
        ("mov.u32 %r4, 5; mad.lo.s32 %r9, %r4, -3, 7".into(), 8u32.wrapping_neg()),
        ("mov.u32 %r4, -1; mul.wide.u32 %rd5, %r4, 4; shr.u64 %rd6, %rd5, 32; cvt.u32.u64 %r9, %rd6".into(), 3),
        ("mov.u32 %r4, -1; mul.wide.s32 %rd5, %r4, 4; shr.s64 %rd6, %rd5, 32; cvt.u32.u64 %r9, %rd6".into(), u32::MAX),
        ("mov.u32 %r4, -7; div.u32 %r9, %r4, 2".into(), (u32::MAX - 6) / 2),
        ("mov.u32 %r4, -7; rem.u32 %r9, %r4, 10".into(), (u32::MAX - 6) % 10),
        ("mov.u32 %r4, -7; div.s32 %r9, %r4, 2".into(), 3u32.wrapping_neg()),
        ("mov.u32 %r4, -7; min.u32 %r9, %r4, 2".into(), 2),
        ("mov.u32 %r4, -7; min.s32 %r9, %r4, 2".into(), 7u32.wrapping_neg()),
        ("mov.u32 %r4, -7; max.s32 %r9, %r4, 2".into(), 2),
        ("mov.u32 %r4, 7; neg.s32 %r9, %r4".into(), 7u32.wrapping_neg()),
        ("cvt.u16.u32 %rs1, 0x18000; cvt.u32.u16 %r9, %rs1".into(), 0x8000),
        ("cvt.u16.u32 %rs1, 0x18000; cvt.s32.s16 %r9, %rs1".into(), 0xffff_8000),
        // Bits; shifts by more than the width leave nothing, or the sign.
        ("mov.u32 %r4, 1; mov.u32 %r5, 32; shl.b32 %r9, %r4, %r5".into(), 0),
        ("mov.u32 %r4, -8; mov.u32 %r5, 40; shr.s32 %r9, %r4, %r5".into(), u32::MAX),
        ("mov.u32 %r4, -8; shr.u32 %r9, %r4, 28".into(), 15),
        ("mov.u32 %r4, -8; shr.s32 %r9, %r4, 1".into(), 4u32.wrapping_neg()),
        ("mov.u32 %r4, 0xabcd; mov.u32 %r5, -1; bfi.b32 %r9, %r4, %r5, 8, 8".into(), 0xffff_cdff),
        ("mov.u32 %r4, 0x33221100; mov.u32 %r5, 0x776655f4; prmt.b32 %r9, %r4, %r5, 0x5432".into(), 0x55f4_3322),
        ("mov.u32 %r4, 0x33221100; mov.u32 %r5, 0x776655f4; prmt.b32 %r9, %r4, %r5, 0xc840".into(), 0xff00_f400),
        ("mov.u32 %r4, 12; and.b32 %r5, %r4, 10; or.b32 %r6, %r5, 1; xor.b32 %r7, %r6, 3; not.b32 %r9, %r7".into(), !10),
        ("mov.b64 %rd5, {%r1, 5}; mov.b64 {%r4, %r5}, %rd5; add.s32 %r9, %r4, %r5".into(), 5),
        ("{ .reg .b16 tmp; mov.b32 {tmp, %rs1}, 0x12345678; } cvt.u32.u16 %r9, %rs1".into(), 0x1234),
        ("mov.u32 %r4, 0xff; mov.u32 %r5, 5; bfi.b32 %r9, %r4, %r5, 40, 8".into(), 5),
        ("mov.u32 %r4, 0xff; mov.u32 %r5, 5; bfi.b32 %r9, %r4, %r5, 4, 0".into(), 5),
        (
            "mov.u64 %rd5, -1; mov.u64 %rd6, 0; bfi.b64 %rd7, %rd5, %rd6, 30, 64; shr.u64 %rd7, %rd7, 16; cvt.u32.u64 %r9, %rd7"
                .into(),
            0xffff_c000,
        ),
        ("mov.u64 %rd5, -1; mov.u32 %r4, 70; shr.s64 %rd6, %rd5, %r4; cvt.u32.u64 %r9, %rd6".into(), u32::MAX),
        ("mov.u16 %rs1, 0x8001; shl.b16 %rs2, %rs1, 1; shr.u16 %rs3, %rs2, 1; cvt.u32.u16 %r9, %rs3".into(), 1),
        ("mov.u32 %r4, 0x80000000; mov.u32 %r5, -1; div.s32 %r9, %r4, %r5".into(), 0x8000_0000),
        ("mov.u32 %r4, 0x7fffffff; mov.u64 %rd5, -1; mad.wide.s32 %rd6, %r4, %r4, %rd5; cvt.u32.u64 %r9, %rd6".into(), 0),
        // Predicates.
        ("setp.lt.s32 %p2, %r3, 8; setp.gt.u32 %p3, %r3, 8; xor.pred %p4, %p2, %p3; selp.b32 %r9, 4, 5, %p4".into(), 4),
        ("mov.pred %p2, 0; not.pred %p3, %p2; and.pred %p4, %p3, %p2; or.pred %p5, %p4, %p3; selp.u32 %r9, 4, 5, %p5".into(), 4),
        ("setp.ne.b32 %p2, %r3, 7; mov.u32 %r9, 1; @%p2 mov.u32 %r9, 2; @!%p2 add.s32 %r9, %r9, 5".into(), 6),
        // Comparisons with what is no number: false, but for those that say so.
        (format!("mov.f32 %f1, {}; setp.lt.f32 %p2, %f1, {}; selp.b32 %r9, 1, 0, %p2", f(nan), f(1.0)), 0),
        (format!("mov.f32 %f1, {}; setp.ge.f32 %p2, %f1, {}; selp.b32 %r9, 1, 0, %p2", f(nan), f(1.0)), 0),
        (format!("mov.f32 %f1, {}; setp.ne.f32 %p2, %f1, {}; selp.b32 %r9, 1, 0, %p2", f(nan), f(1.0)), 0),
        (format!("mov.f32 %f1, {}; setp.neu.f32 %p2, %f1, {}; selp.b32 %r9, 1, 0, %p2", f(nan), f(1.0)), 1),
        (format!("mov.f32 %f1, {}; setp.ltu.f32 %p2, %f1, {}; selp.b32 %r9, 1, 0, %p2", f(nan), f(1.0)), 1),
        (format!("mov.f32 %f1, {}; setp.geu.f32 %p2, %f1, {}; selp.b32 %r9, 1, 0, %p2", f(nan), f(1.0)), 1),
        (format!("mov.f32 %f1, {}; setp.nan.f32 %p2, %f1, {}; selp.b32 %r9, 1, 0, %p2", f(nan), f(1.0)), 1),
        (format!("mov.f32 %f1, {}; setp.equ.f32 %p2, %f1, {}; selp.b32 %r9, 1, 0, %p2", f(2.0), f(1.0)), 0),
        (format!("mov.f32 %f1, {}; max.f32 %f2, %f1, {}; mov.b32 %r9, %f2", f(nan), f(1.0)), one),
        (format!("mov.f32 %f1, {}; min.f32 %f2, {}, %f1; mov.b32 %r9, %f2", f(nan), f(1.0)), one),
        (format!("mov.f32 %f1, {}; max.f32 %f2, {}, %f1; mov.b32 %r9, %f2", f(-0.0), f(0.0)), 0),
        (format!("mov.f32 %f1, {}; min.f32 %f2, {}, %f1; mov.b32 %r9, %f2", f(0.0), f(-0.0)), (-0.0f32).to_bits()),
        // Rounding: a fused multiply-add once, a product and a sum twice.
        (format!("mov.f32 %f1, {}; fma.rn.f32 %f2, %f1, %f1, {}; mov.b32 %r9, %f2", f(1.0 + f32::EPSILON), f(-1.0 - 2.0 * f32::EPSILON)), (f32::EPSILON * f32::EPSILON).to_bits()),
        (format!("mov.f32 %f1, {}; mul.rn.f32 %f2, %f1, %f1; add.rn.f32 %f3, %f2, {}; mov.b32 %r9, %f3", f(1.0 + f32::EPSILON), f(-1.0 - 2.0 * f32::EPSILON)), 0),
        (format!("mov.f64 %fd1, {}; cvt.rn.f32.f64 %f1, %fd1; mov.b32 %r9, %f1", d(1.0 + 3.0 * 2f64.powi(-24))), (1.0f32 + 2.0 * f32::EPSILON).to_bits()),
        (format!("mov.f64 %fd1, {}; sqrt.rn.f64 %fd2, %fd1; div.rn.f64 %fd3, %fd2, {}; cvt.rn.f32.f64 %f1, %fd3; mov.b32 %r9, %f1", d(9.0), d(4.0)), 0.75f32.to_bits()),
        (format!("mov.f64 %fd1, {}; rcp.rn.f64 %fd2, %fd1; neg.f64 %fd3, %fd2; cvt.rzi.s32.f64 %r9, %fd3", d(0.3)), 3u32.wrapping_neg()),
        (format!("mov.f64 %fd1, {}; cvt.rzi.s32.f64 %r9, %fd1", d(1e300)), i32::MAX as u32),
        (format!("mov.f64 %fd1, {}; cvt.rzi.s32.f64 %r9, %fd1", d(-1e300)), i32::MIN as u32),
        (format!("mov.f64 %fd1, {}; cvt.rzi.s32.f64 %r9, %fd1", d(f64::NAN)), 0x8000_0000),
        (format!("mov.f32 %f1, {}; cvt.rzi.s32.f32 %r9, %f1", f(nan)), 0),
        ("mov.u16 %rs1, 9; cvt.rn.f32.u16 %f1, %rs1; mov.b32 %r9, %f1".into(), 9f32.to_bits()),
        ("mov.u32 %r4, -9; cvt.rn.f64.s32 %fd1, %r4; cvt.rn.f32.f64 %f1, %fd1; mov.b32 %r9, %f1".into(), (-9f32).to_bits()),
        (format!("mov.f32 %f1, {}; abs.f32 %f2, %f1; mov.b32 %r9, %f2", f(-1.0)), one),
        // Halves: the nearest, ties to even, multiples of 2^-24 near zero; beyond 65519.99 infinite.
        (two_halves(1.0, -2.0), 0x3c00_c000),
        (two_halves(0.0, -0.0), 0x0000_8000),
        (two_halves(1.0 + 2f32.powi(-11), 1.0 + 3.0 * 2f32.powi(-11)), 0x3c00_3c02),
        (two_halves(65519.0, -65520.0), 0x7bff_fc00),
        (two_halves(nan, 3.0 * 2f32.powi(-24)), 0x7fff_0003),
        (two_halves(1.5 * 2f32.powi(-24), 2f32.powi(-14) - 2f32.powi(-26)), 0x0002_0400),
        ("mov.u32 %r4, 0x83ff3555; mov.b32 {%rs1, %rs2}, %r4; cvt.f32.f16 %f1, %rs1; mov.b32 %r9, %f1".into(), 0.333_251_95_f32.to_bits()),
        ("mov.u32 %r4, 0x83ff3555; mov.b32 {%rs1, %rs2}, %r4; cvt.f32.f16 %f1, %rs2; mov.b32 %r9, %f1".into(), (-1023.0 * 2f32.powi(-24)).to_bits()),
        ("mov.u16 %rs1, 0x7c00; cvt.f32.f16 %f1, %rs1; mov.b32 %r9, %f1".into(), f32::INFINITY.to_bits()),
        // Below normal numbers approximate units have zero on both sides.
        (format!("mov.f32 %f1, {}; ex2.approx.ftz.f32 %f2, %f1; mov.b32 %r9, %f2", f(-130.0)), 0),
        (format!("mov.f32 %f1, {}; rcp.approx.ftz.f32 %f2, %f1; mov.b32 %r9, %f2", f(1e-40)), f32::INFINITY.to_bits()),
        // Memory: in order, whole rows at once, into the register of the address too.
        ("ld.global.nc.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1+16]; mov.b32 %r9, %f3".into(), 6f32.to_bits()),
        ("mov.u64 %rd5, %rd1; ld.global.v2.u64 {%rd5, %rd6}, [%rd5]; shr.u64 %rd7, %rd6, 32; cvt.u32.u64 %r9, %rd7".into(), 3f32.to_bits()),
        ("ld.global.nc.b32 %f1, [%rd1+4]; mov.b32 %r9, %f1".into(), one),
        ("@%p1 atom.global.add.u32 %r4, [%rd2+1020], 5; @%p1 ld.global.u32 %r5, [%rd2+1020]; sub.s32 %r9, %r5, %r4".into(), 5),
        // Lanes.
        ("shfl.sync.idx.b32 %r9|%p2, %r1, 3, 31, -1".into(), 3),
        ("mov.u32 %r4, 9; shfl.sync.idx.b32 %r5|%p2, %r1, %r4, 0, -1; selp.b32 %r9, 100, %r5, %p2".into(), 0),
        ("mov.u32 %r4, 9; shfl.sync.idx.b32 %r5|%p2, %r1, %r4, 6159, -1; selp.b32 %r9, %r5, 100, %p2".into(), 1),
    ];
    assert!(cases.len() < 256);
    let stores = cases
        .iter()
        .enumerate()
        .map(|(k, (body, _))| format!("mov.u32 %r9, 0xdead;\n{body};\n@%p1 st.global.u32 [%rd2+{}], %r9;\n", 4 * k));
    let body: String = stores.collect();
    for watch in [Watch::Nothing, Watch::Memory] {
        let out = run(watch, &[&body], 1).remove(0).unwrap();
        for (k, (body, expected)) in cases.iter().enumerate() {
            assert_eq!(out[k], *expected, "{body}: {:x} instead of {expected:x}", out[k]);
        }
    }
}

/// What each lane has of d (16 x 8, in `%f4` to `%f7`), where a is 1 in row + column = `diagonal`, b[k][n] is 8 k + n, and one half is added.
fn multiplied(body: &str, diagonal: usize) {
    let tell = "setp.ge.u32 %p3, %r1, 32; @%p3 bra $end;\n\
         shl.b32 %r16, %r4, 3; add.s32 %r16, %r16, %r5; add.s32 %r16, %r16, %r5; mul.wide.u32 %rd5, %r16, 4; add.s64 %rd5, %rd2, %rd5;\n\
         st.global.f32 [%rd5], %f4; st.global.f32 [%rd5+4], %f5; st.global.f32 [%rd5+256], %f6; st.global.f32 [%rd5+260], %f7;\n\
         $end:";
    let out = run(Watch::Memory, &[&format!("{body}\n{tell}")], 1).remove(0).unwrap();
    for r in 0..16 {
        for n in 0..8 {
            let product = if (2..=diagonal).contains(&r) { 8 * (diagonal - r) + n } else { 0 };
            assert_eq!(f32::from_bits(out[8 * r + n]), product as f32 + 0.5, "row {r}, column {n}");
        }
    }
}

/// The manual's tables of what lanes hold, row by row: a (16 x 8, row major), b (8 x 8, column major), d (16 x 8).
#[test]
fn a_matrix_unit_multiplies_what_its_lanes_hold_by_the_manuals_order() {
    // Lane l is in group g = l / 4 and has place p = l % 4. a = 1 where row + column = 9, b[k][n] = 8 k + n: d[r][n] = 8 (9 - r) + n for 2 <= r <= 9.
    let body = "shr.u32 %r4, %r1, 2; and.b32 %r4, %r4, 7; and.b32 %r5, %r1, 3;\n\
         add.s32 %r6, %r4, %r5; setp.eq.s32 %p2, %r6, 9; selp.f32 %f1, 0f3F800000, 0f00000000, %p2; mov.b32 %r10, %f1;\n\
         add.s32 %r7, %r6, 8; setp.eq.s32 %p2, %r7, 9; selp.f32 %f1, 0f3F800000, 0f00000000, %p2; mov.b32 %r11, %f1;\n\
         add.s32 %r7, %r6, 4; setp.eq.s32 %p2, %r7, 9; selp.f32 %f1, 0f3F800000, 0f00000000, %p2; mov.b32 %r12, %f1;\n\
         add.s32 %r7, %r6, 12; setp.eq.s32 %p2, %r7, 9; selp.f32 %f1, 0f3F800000, 0f00000000, %p2; mov.b32 %r13, %f1;\n\
         shl.b32 %r8, %r5, 3; add.s32 %r8, %r8, %r4; cvt.rn.f32.s32 %f2, %r8; mov.b32 %r14, %f2;\n\
         add.s32 %r8, %r8, 32; cvt.rn.f32.s32 %f2, %r8; mov.b32 %r15, %f2;\n\
         mov.f32 %f3, 0f3F000000;\n\
         mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f4, %f5, %f6, %f7}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f3, %f3, %f3, %f3};";
    multiplied(body, 9);
}

/// The same of halves, two in a register: a (16 x 16), b (16 x 8).
#[test]
fn a_matrix_unit_multiplies_halves_by_the_manuals_order() {
    // a = 1 where row + column = 17, b[k][n] = 8 k + n: d[r][n] = 8 (17 - r) + n for 2 <= r. `one` makes the two halves of a register from row
    // and first column, `two` those of b.
    let one = |to: u32, row: u32, column: u32| {
        format!(
            "add.s32 %r6, %r4, %r5; add.s32 %r6, %r6, %r5; add.s32 %r6, %r6, {}; setp.eq.s32 %p2, %r6, 17; selp.f32 %f1, 0f3F800000, 0f00000000, %p2;\n\
             setp.eq.s32 %p2, %r6, 16; selp.f32 %f2, 0f3F800000, 0f00000000, %p2; cvt.rn.f16x2.f32 %r{to}, %f2, %f1;\n",
            row + column
        )
    };
    let two = |to: u32, k: u32| {
        format!(
            "shl.b32 %r6, %r5, 4; add.s32 %r6, %r6, %r4; add.s32 %r6, %r6, {}; cvt.rn.f32.s32 %f1, %r6;\n\
             add.s32 %r6, %r6, 8; cvt.rn.f32.s32 %f2, %r6; cvt.rn.f16x2.f32 %r{to}, %f2, %f1;\n",
            8 * k
        )
    };
    let body = "shr.u32 %r4, %r1, 2; and.b32 %r4, %r4, 7; and.b32 %r5, %r1, 3;\n".to_string()
        + &one(10, 0, 0)
        + &one(11, 8, 0)
        + &one(12, 0, 8)
        + &one(13, 8, 8)
        + &two(14, 0)
        + &two(15, 8)
        + "mov.f32 %f3, 0f3F000000;\n\
           mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f4, %f5, %f6, %f7}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f3, %f3, %f3, %f3};";
    multiplied(&body, 17);
}

#[test]
fn what_hardware_would_not_forgive_is_found() {
    let always = [
        (
            "ld.global.nc.f32 %f1, [%rd2]; bar.sync 0; @%p1 atom.global.add.u32 %r4, [%rd2+512], 1;",
            "an argument is written that is read as never changing",
        ),
        ("ld.global.nc.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1+8];", "device memory not at a multiple of its bytes"),
        ("st.global.u32 [%rd2+1022], %r1;", "device memory not at a multiple of its bytes"),
        ("ld.global.v2.f32 {%f1, %f2}, [%rd1+1024];", "device memory of no argument"),
        ("mov.u64 %rd5, 0; st.global.u32 [%rd5], %r1;", "device memory of no argument"),
        ("ld.shared.v4.f32 {%f1, %f2, %f3, %f4}, [shared_memory+4];", "shared memory not at a multiple of its bytes"),
        ("st.shared.f32 [shared_memory+1024], %f1;", "shared memory out of bounds"),
        ("mov.u64 %rd5, 0; st.shared.f32 [%rd5], %f1;", "shared memory out of bounds"),
        (
            "ld.global.nc.f32 %f1, [%rd2]; @%p1 st.global.u32 [%rd2+512], %r1;",
            "an argument is written that is read as never changing",
        ),
        (
            "setp.lt.u32 %p2, %r1, 16; @%p2 bra $low; bar.sync 0; bra $end;\n$low: bar.sync 0;\n$end:",
            "lanes of a wave are at different barriers",
        ),
        ("setp.lt.u32 %p2, %r1, 16; @%p2 ret; bar.sync 0;", "ended before a barrier"),
        (
            "setp.lt.u32 %p2, %r1, 16; @%p2 bra $end; shfl.sync.idx.b32 %r4|%p3, %r1, 0, 31, -1;\n$end: bar.sync 0;",
            "lanes of a wave are not together",
        ),
        ("shfl.sync.idx.b32 %r4|%p3, %r1, 0, 31, 0xffff;", "a part of a wave exchanges numbers"),
        (
            "mov.f32 %f1, 0f00000000; mov.u32 %r4, 0; setp.lt.u32 %p2, %r1, 16; @%p2 bra $low;\n\
             mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f4, %f5, %f6, %f7}, {%r4, %r4, %r4, %r4}, {%r4, %r4}, {%f1, %f1, %f1, %f1}; bra.uni $end;\n\
             $low: mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f4, %f5, %f6, %f7}, {%r4, %r4, %r4, %r4}, {%r4, %r4}, {%f1, %f1, %f1, %f1};\n$end:",
            "lanes of a wave are not together",
        ),
        ("mov.u32 %r4, shared_memory; @%p1 cp.async.cg.shared.global [%r4], [%rd1], 16;", "ends with copies on their way"),
    ];
    let under_watch = [
        (
            "ld.shared.u32 %r4, [shared_memory]; setp.eq.s32 %p2, %r1, 5; @%p2 st.shared.u32 [shared_memory], %r1;",
            "shared memory is written without a barrier after another thread's read",
        ),
        (
            "add.s64 %rd5, %rd4, 0; mov.u64 %rd6, shared_memory; add.s64 %rd5, %rd5, %rd6; st.shared.u32 [%rd5], %r1; ld.shared.u32 %r4, [shared_memory+4];",
            "shared memory is written without a barrier after another thread's read",
        ),
        ("st.shared.u32 [shared_memory], %r1;", "two threads write shared memory without a barrier"),
        ("ld.global.u32 %r4, [%rd2]; setp.eq.s32 %p2, %r1, 5; @%p2 st.global.u32 [%rd2], %r1;", "write without a barrier after another thread's read"),
        ("@%p1 st.global.u32 [%rd2], %r1;", "write of what another block of the launch writes"),
        ("@%p1 st.global.u16 [%rd2], %rs1; ld.global.u16 %rs2, [%rd2];", "read without a barrier after another thread's write"),
        (
            "mov.u32 %r4, shared_memory; @%p1 cp.async.cg.shared.global [%r4], [%rd1], 16; @%p1 cp.async.wait_all; ld.shared.u32 %r5, [shared_memory];",
            "shared memory is read without a barrier after another thread's write",
        ),
    ];
    let bodies = |cases: &[(&'static str, &str)]| cases.iter().map(|c| c.0).collect::<Vec<_>>();
    for watch in [Watch::Nothing, Watch::Memory] {
        for (result, (body, expected)) in run(watch, &bodies(&always), 2).into_iter().zip(always) {
            let error = result.expect_err(body);
            assert!(error.contains(expected), "{body}: {error}");
        }
    }
    for (result, (body, expected)) in run(Watch::Memory, &bodies(&under_watch), 2).into_iter().zip(under_watch) {
        let error = result.expect_err(body);
        assert!(error.contains(expected) && error.matches(", line ").count() == 1, "{body}: {error}");
    }
}

#[test]
fn copies_ahead_come_when_they_are_waited_for() {
    let copy = "mov.u32 %r4, shared_memory; @%p1 cp.async.cg.shared.global [%r4], [%rd1+16], 16;";
    let tell = "@%p1 ld.shared.u32 %r5, [shared_memory+4]; @%p1 st.global.u32 [%rd2], %r5;";
    let late = format!("{copy} {tell} cp.async.wait_all;");
    let good = format!("{copy} cp.async.wait_all; bar.sync 0; {tell}");
    let out = run(Watch::Memory, &[&late, &good], 1);
    assert_eq!(out[0].as_ref().unwrap()[0], u32::MAX);
    assert_eq!(out[1].as_ref().unwrap()[0], 5f32.to_bits());
}

#[test]
fn what_is_not_known_is_refused_by_line_and_name() {
    let refused = |body: &str| host_text(&Source::prelude(true), &(HEAD.to_string() + &kernel("k", body))).unwrap_err();
    for (body, name) in [
        // ptxas may fuse what does not say that it is rounded.
        ("add.f32 %f1, %f2, %f3;", "add.f32"),
        ("fma.rz.f32 %f1, %f2, %f3, %f4;", "fma.rz.f32"),
        ("mul.rn.ftz.f32 %f1, %f2, %f3;", "mul.rn.ftz.f32"),
        ("ld.volatile.global.u32 %r4, [%rd1];", "ld.volatile.global.u32"),
        ("ld.local.u32 %r4, [%rd1];", "ld.local.u32"),
        ("shfl.sync.bfly.b32 %r4|%p2, %r1, 1, 31, -1;", "shfl.sync.bfly.b32"),
        ("bar.sync 1;", "bar.sync"),
        (
            "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%f1}, {%r1}, {%r1}, {%f1};",
            "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32",
        ),
        ("mov.u32 %r4, %laneid;", "mov.u32"),
        ("mov.u32 %q4, 1;", "mov.u32"),
        ("call.uni f;", "call.uni"),
    ] {
        let line = (HEAD.to_string() + &kernel("k", body)).lines().position(|l| l == body).unwrap() + 1;
        match refused(body) {
            CompiledError::Unknown { instruction, line: at } => assert_eq!((instruction.as_str(), at), (name, line)),
            other => panic!("{body}: {other}"),
        }
    }
    for text in [
        "",
        ".visible .func f() { ret; }",
        ".visible .entry k(.param .f32 a) { ret; }",
        ".visible .entry k() { ret",
        ".global .u32 x;",
    ] {
        let error = host_text(&Source::prelude(true), text).unwrap_err();
        assert!(matches!(error, CompiledError::Malformed { .. } | CompiledError::Empty), "{text}: {error}");
    }
}

#[test]
fn arguments_and_blocks_are_those_that_a_kernel_was_compiled_for() {
    let prelude = Source::prelude(true);
    let text = host_text(&prelude, &(HEAD.to_string() + &kernel("k", ""))).unwrap();
    let driver = device(Watch::Memory);
    let folder = tempfile::tempdir().unwrap();
    let image =
        weir_kernels::host::compile(&Source { text, ..prelude }, folder.path(), driver.compile_flags()).unwrap();
    let function = driver.function(driver.load(&image).unwrap(), "k").unwrap();
    let launch = |block: u32, last: Arg| {
        let args = [Arg::Pointer(0, 0), Arg::Pointer(0, 0), last];
        let launch = Launch { function, grid: 1, block, shared: 0, stream: Stream::Compute, args: &args };
        driver.launch(&launch).map_err(|e| e.to_string())
    };
    launch(128, Arg::U32(1)).unwrap();
    driver.synchronise(Stream::Compute).unwrap();
    assert!(launch(128, Arg::U64(1)).unwrap_err().contains("argument 2 is U64(1), compiled as u32"));
    assert!(launch(256, Arg::U32(1)).unwrap_err().contains("blocks of 256 threads, compiled for 128"));
}
