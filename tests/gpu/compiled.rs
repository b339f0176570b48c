//! What vendors' compilers make of the kernels, run by the emulated device: the bits of the text itself.

use super::common::*;
use super::heavy::drop;
use super::placed::{options, Case};
use super::ptx::launched;
use super::{kept, parity};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_backends::cpu::{PrecisionChoice, Store};
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions, KernelCounts, Watch};
use weir_backends::gpu::{create, GpuOptions};
use weir_engine::model::{new_model, Model};
use weir_kernels::compile::CompileError;
use weir_kernels::compiled::{compiler, host_ir, translated, Compiled, CompiledError};
use weir_kernels::{Products, Source};

const HOPPER: Compiled = Compiled::Cuda { chip: "sm_90a", toolkit: 12 };
const MI300A: Compiled = Compiled::Amd { chip: "gfx942" };

/// Whether the compiler is there; without it there is nothing to look at.
fn there(compiled: Compiled) -> bool {
    match compiler(compiled) {
        Ok(_) => true,
        Err(error @ (CompiledError::Compile(CompileError::Missing { .. }) | CompiledError::Toolkit { .. })) => {
            println!("skipped for {compiled:?}: {error}");
            assert!(std::env::var("KERNEL_COMPILERS").as_deref() != Ok("required"), "{error}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// Waves of the chip, and as much shared memory as a block of it may have.
fn text(compiled: Compiled) -> EmulatedOptions {
    let (wave, kilobytes) = match compiled {
        Compiled::Cuda { .. } => (32, 227),
        Compiled::Amd { .. } => (64, 64),
    };
    EmulatedOptions { watch: Watch::Nothing, wave, shared: kilobytes << 10, ..Default::default() }
}

/// Every access of what was compiled is watched.
fn device(compiled: Compiled) -> EmulatedOptions {
    EmulatedOptions { compiled: Some(compiled), watch: Watch::Memory, ..text(compiled) }
}

struct Hopper;

impl Backend for Hopper {
    const THREADS: &'static [usize] = &[1];
    fn make(model: &Arc<Model>, types: &[i32], s: &Settings) -> Box<dyn Counted> {
        let options = GpuOptions {
            precision: s.precision,
            checkpoint: s.checkpoint,
            skin: s.skin,
            tile_edges: s.tile_edges,
            poison: true,
            cache_dir: kept(),
            ..Default::default()
        };
        Box::new(create(Arc::new(Emulated::new(device(HOPPER))), model.clone(), types, &options).unwrap())
    }
}

/// A long check (docs/checks.md): NVIDIA's compiler takes seven seconds for each of the shapes.
#[test]
#[ignore = "two minutes"]
fn carried_models_equal_deepmd_kit() {
    if there(HOPPER) {
        parity::carried_models_equal_deepmd_kit::<Hopper>(20);
    }
}

/// What kernels have done, by name.
type Counts = BTreeMap<String, KernelCounts>;

/// Energy, forces and virial of what was compiled are the text's to the last bit; what kernels of both have done, the text's first. None without
/// the compiler.
fn both(case: &Case, compiled: Compiled, options: &GpuOptions, watch: Watch) -> Option<[Counts; 2]> {
    there(compiled).then_some(())?;
    let what = (compiled, options.precision, options.products, options.store);
    let run = |device: EmulatedOptions| {
        let driver = Arc::new(Emulated::new(device));
        let out = case.run(&mut create(driver.clone(), case.model.clone(), &case.types, options).unwrap()).unwrap();
        let (all, compiled) = driver.bounded();
        assert_eq!(compiled, if device.compiled.is_some() { all } else { 0 }, "{what:?}");
        (out, driver.counts())
    };
    let (expected, of_text) = run(EmulatedOptions { watch, ..text(compiled) });
    let (got, of_compiled) = run(device(compiled));
    assert!(expected.energy.is_finite() && expected.forces.as_flattened().iter().any(|f| *f != 0.0), "{what:?}");
    assert_eq!(bits(&got), bits(&expected), "{what:?}");
    Some([of_text, of_compiled])
}

fn same(case: &Case, compiled: Compiled, options: &GpuOptions) {
    both(case, compiled, options, Watch::Nothing);
}

fn single(products: Products, store: Store) -> GpuOptions {
    GpuOptions { products, store, ..options(PrecisionChoice::F32) }
}

fn slab() -> Case {
    Case::with(3, 16, 5.9, [[6.3, 0.0, 0.0], [0.9, 6.0, 0.0], [-1.4, 0.7, 6.6]])
}

/// So many layers of DPA-3.1-3M.
fn published(layers: usize) -> Case {
    let mut model = new_model("dpa-3.1-3m", 5).unwrap();
    model.descriptor.layers.truncate(layers);
    model.descriptor.options.nlayers = layers;
    Case { model: Arc::new(model), ..slab() }
}

#[test]
fn for_every_generation_and_by_either_nvrtc_the_bits_are_those_of_the_text() {
    for (chip, toolkit) in [("sm_80", 12), ("sm_100a", 13)] {
        same(&slab(), Compiled::Cuda { chip, toolkit }, &options(PrecisionChoice::F64));
    }
    let hopper = Compiled::Cuda { chip: "sm_90a", toolkit: 13 };
    same(&slab(), hopper, &single(Products::Tf32x3, Store::Exact));
}

#[test]
fn for_amd_chips_the_bits_are_those_of_the_text() {
    for o in [single(Products::Plain, Store::F16), single(Products::Mfma, Store::Exact)] {
        same(&slab(), MI300A, &o);
    }
    same(&published(3), MI300A, &single(Products::Mfma, Store::Exact));
}

#[test]
fn however_numbers_are_multiplied_and_kept_the_bits_are_those_of_the_text() {
    for (products, store) in
        [(Products::Plain, Store::Exact), (Products::Tf32x3, Store::Bf16), (Products::F16x3, Store::Exact)]
    {
        same(&slab(), HOPPER, &single(products, store));
    }
}

#[test]
fn centres_that_two_blocks_share_have_the_bits_of_the_text() {
    let mut case = drop();
    for (chip, smooth, sequential) in [(HOPPER, false, false), (MI300A, true, true)] {
        let o = &mut Arc::make_mut(&mut case.model).descriptor.options;
        (o.smooth_edge_update, o.sequential_update) = (smooth, sequential);
        same(&case, chip, &options(PrecisionChoice::F64));
    }
}

#[test]
fn the_published_shape_has_the_bits_and_the_traffic_of_the_text() {
    let options = single(Products::Tf32x3, Store::Exact);
    let Some([text, got]) = both(&published(3), HOPPER, &options, Watch::Memory) else { return };
    for (kernel, text) in text {
        let got = got[&kernel];
        assert_eq!((got.launches, got.written_bytes), (text.launches, text.written_bytes), "{kernel}");
        // Compilers leave out what is read for nothing.
        let share = got.read_bytes as f64 / text.read_bytes as f64;
        assert!(
            (0.999..=1.0).contains(&share),
            "{kernel}: {} bytes read, {} by the text",
            got.read_bytes,
            text.read_bytes
        );
    }
}

/// A long check: all sixteen layers, by matrix units and by multiply-adds; the chips, compilers and products that are left.
#[test]
#[ignore = "minutes"]
fn the_whole_published_model_has_the_bits_of_the_text() {
    let hopper = [Products::Tf32x3, Products::F16x3, Products::Plain].map(|products| (HOPPER, products));
    for (chip, products) in hopper.into_iter().chain([(MI300A, Products::Mfma)]) {
        same(&published(16), chip, &single(products, Store::Exact));
    }
    same(&slab(), HOPPER, &single(Products::Tf32, Store::F16));
    let cuda = [("sm_90a", 13), ("sm_100a", 12)].map(|(chip, toolkit)| Compiled::Cuda { chip, toolkit });
    for chip in cuda.into_iter().chain([Compiled::Amd { chip: "gfx90a" }]) {
        same(&slab(), chip, &options(PrecisionChoice::F64));
        same(&drop(), chip, &options(PrecisionChoice::F64));
    }
}

/// Rules that a text breaks are found in what either vendor's compiler made of it.
#[test]
fn broken_rules_are_found_in_what_was_compiled() {
    let cases = [
        ("s[t] = 1; to[b * 128 + t] = s[t ^ 1];", "shared memory is written without a barrier after another thread's read"),
        ("if (t == 5) to[9] = s[7]; if (t == 7) s[7] = from[0];", "shared memory is written without a barrier"),
        ("if (b == 0) { to[t] = from[t]; if (t == 5) to[8] = 3; }", "two threads write without a barrier"),
        ("if (t == 0) to[0] = from[b];", "write of what another block of the launch writes"),
        ("to[b * 128 + t] = from[t + 512 * n];", "device memory of no argument"),
        ("if (t == 0) atomic_add((u32 *)to, 512 * n, 1);", "device memory of no argument"),
        ("s[t + 32 * n] = from[t]; barrier(); to[b * 128 + t] = s[t];", "shared memory out of bounds"),
        (
            "if (t % 32 < 16) { s[t] = from[t]; barrier(); s[t] = 2 * s[t]; } else { barrier(); s[t] = from[t + 1]; } to[b * 128 + t] = s[t];",
            "lanes of a wave are at different barriers",
        ),
    ];
    // 7 + 1 / 4.
    let good = "barrier(); to[b * 128 + t] = float(uniform(n)) + power_of_two(from[0]) * estimate(from[4]);";
    for compiled in [HOPPER, MI300A].into_iter().filter(|&c| there(c)) {
        let bodies = cases.iter().map(|c| c.0).chain([good]).enumerate();
        let kernels: String = bodies
            .map(|(k, body)| {
                format!(
                    "KERNEL(k{k})(HANDED(const float) from, HANDED(float) to, u32 n) {{ u32 t = thread(), b = block(); \
                     LOCAL(float) s = shared_at<float>(0); {body} }}\n"
                )
            })
            .collect();
        let prelude = Source::prelude(false);
        let source = Source { text: prelude.text.clone() + &kernels, ..prelude };
        let made = translated(&source, compiled).unwrap();
        let mut results = launched(&Emulated::new(device(compiled)), &made, cases.len() + 1, 2);
        let last = results.pop().unwrap().unwrap();
        assert!(last.iter().all(|&x| (f32::from_bits(x) - 7.25).abs() < 1e-6), "{compiled:?}");
        for (result, (body, expected)) in results.into_iter().zip(cases) {
            let error = result.expect_err(body);
            assert!(error.contains(expected) && error.contains("line "), "{compiled:?}: {body}: {error}");
        }
    }
}

/// Lines of LLVM's intermediate form that nobody has written down, and some that are known.
#[test]
fn what_is_not_known_of_amd_is_refused_by_line() {
    let of =
        |line: &str| host_ir(&format!("define protected amdgpu_kernel void @k() #0 {{\n  {line}\n  ret void\n}}\n"));
    for line in [
        "%1 = atomicrmw umax ptr addrspace(1) %0, i32 1 syncscope(\"agent\") monotonic, align 4",
        "%1 = atomicrmw add ptr addrspace(1) %0, i64 1 syncscope(\"agent\") monotonic, align 8",
        "atomicrmw fadd ptr addrspace(1) %0, float %1 monotonic, align 4",
        "%1 = cmpxchg ptr %0, i32 0, i32 1 monotonic monotonic, align 4",
        "%1 = load volatile i32, ptr addrspace(1) %0, align 4",
        "%1 = load atomic i32, ptr addrspace(1) %0 monotonic, align 4",
        "%1 = load ptr, ptr addrspace(1) %0, align 8",
        "store i8 0, ptr addrspace(1) %0, align 1",
        "store <4 x i1> %1, ptr addrspace(1) %0, align 1",
        "%1 = alloca i32, align 4, addrspace(5)",
        "call void @llvm.memset.p1.i64(ptr addrspace(1) %0, i8 0, i64 16, i1 false)",
        "%1 = call <4 x float> @llvm.masked.load.v4f32.p1(ptr addrspace(1) %0, i32 4, <4 x i1> %2, <4 x float> %3)",
        "%1 = tail call float @llvm.fmuladd.f32(float %0, float %0, float %0)",
        "%1 = tail call i32 @llvm.amdgcn.ds.bpermute(i32 %0, i32 %0)",
        "%1 = tail call float %0(float %2)",
        "call void @_Z1fv()",
    ] {
        match of(line) {
            Err(CompiledError::Unknown { line: 2, instruction }) => {
                assert!(line.starts_with(&instruction), "{instruction}")
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    for text in ["define void @f() {", "@table = internal addrspace(4) constant [2 x i32] [i32 1, i32 2]"] {
        assert!(matches!(host_ir(text), Err(CompiledError::Unknown { line: 1, .. })), "{text}");
    }
    for (line, told) in [
        (
            "%1 = atomicrmw add ptr addrspace(1) %0, i32 1 syncscope(\"agent\") monotonic, align 4",
            "adds(i32 2, i32 4, i32 4, ptr %0)",
        ),
        ("%1 = load <4 x float>, ptr addrspace(3) %0, align 16, !tbaa !5", "reads(i32 2, i32 16, i32 16, ptr %0)"),
        ("store <2 x i32> %1, ptr addrspace(1) %0, align 4", "writes(i32 2, i32 8, i32 4, ptr %0)"),
        ("store i16 1, ptr addrspace(1) %0, align 2, !tbaa !9", "writes(i32 2, i32 2, i32 2, ptr %0)"),
        ("tail call void @llvm.amdgcn.s.barrier()", "s_barrier(i32 2)"),
        ("%1 = tail call float @llvm.amdgcn.rcp.f32(float %0)", "rcp_f32(i32 2, float %0)"),
    ] {
        let text = of(line).unwrap();
        assert!(text.lines().nth(1).unwrap().contains(told), "{line}: {text}");
    }
}
