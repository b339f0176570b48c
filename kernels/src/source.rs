//! The kernel text put together for one shape and number type, ready for any compiler.

use crate::chip::Chip;

/// Text and macro definitions; the same source compiles for every chip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// For messages and cache files.
    pub name: String,
    /// One translation unit, preludes of all targets included (each guards itself by macros: `WEIR_CUDA`, `WEIR_HIP`, `WEIR_HOST`, which
    /// the compiling side defines).
    pub text: String,
    /// Macros, `NAME` and value, in a fixed order.
    pub defines: Vec<(String, String)>,
}

/// The parts of the text, in order.
const PARTS: [(&str, &str); 21] = [
    ("host.h", include_str!("../text/host.h")),
    ("lanes.h", include_str!("../text/lanes.h")),
    ("caches.h", include_str!("../text/caches.h")),
    ("watch.h", include_str!("../text/watch.h")),
    ("fibres.h", include_str!("../text/fibres.h")),
    ("names.h", include_str!("../text/names.h")),
    ("prelude.h", include_str!("../text/prelude.h")),
    ("math.h", include_str!("../text/math.h")),
    ("access.h", include_str!("../text/access.h")),
    ("tensor.h", include_str!("../text/tensor.h")),
    ("product.h", include_str!("../text/product.h")),
    ("state.h", include_str!("../text/state.h")),
    ("shape.h", include_str!("../text/shape.h")),
    ("skin.h", include_str!("../text/skin.h")),
    ("neighbours.h", include_str!("../text/neighbours.h")),
    ("geometry.h", include_str!("../text/geometry.h")),
    ("edge.h", include_str!("../text/edge.h")),
    ("angle.h", include_str!("../text/angle.h")),
    ("angle_back.h", include_str!("../text/angle_back.h")),
    ("node.h", include_str!("../text/node.h")),
    ("fit.h", include_str!("../text/fit.h")),
];

/// So many parts make names for the rest.
const PRELUDES: usize = 7;

/// Threads of a block, in every kernel.
pub const THREADS: u32 = 128;
/// Groups of threads that rows are spread over.
pub const ROW_LANES: u32 = THREADS / 16;
/// Blocks that a multiprocessor should hold: 512 threads, which are two waves on each of the four SIMDs of AMD's compute units and four on
/// each of the four schedulers of NVIDIA's. With fewer, units wait while a block stages rows or stands at a barrier.
pub const BLOCKS: u32 = 4;
/// The same for tensor cores, whose tiles fill the registers: 112 to 168 of a thread (sm_90a, NVRTC 12.8). In f16x3 `angle_forward` does with 120
/// and goes by [`BLOCKS`]; `angle_backward` would have 48 rows of angles instead of 64 then and take a third more instructions, which eats what a
/// fourth block wins (predicted, 2PTC, 2026-12-01).
pub const BLOCKS_OF_TENSOR_CORES: u32 = 3;
/// Numbers between the end of a row and the next, in shared memory and where lanes of a wave read pieces of two rows together (`product.h`).
pub const PAD: u32 = 4;
/// Rows of a matrix unit's tile (`tensor.h`).
const TILE_ROWS: u32 = 16;

/// How a kernel multiplies matrices of f32; those of f64 are always plain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Products {
    /// Fused multiply-adds of f32.
    #[default]
    Plain,
    /// One product of factors rounded to TF32 on tensor cores (CUDA, compute capability 8.0 and later): errors of 1e-3 of a product.
    Tf32,
    /// Three products of numbers cut into two of TF32, on tensor cores: about as exact as f32.
    Tf32x3,
    /// f32 on matrix cores (AMD, gfx90a and later).
    Mfma,
    /// The same of f16: as exact for numbers up to 65504.
    F16x3,
}

impl Products {
    /// All of them.
    pub const ALL: [Products; 5] = [Products::Plain, Products::Tf32, Products::Tf32x3, Products::Mfma, Products::F16x3];

    /// Number in the text (`tensor.h`; `prelude.h` knows that of f16x3).
    pub fn number(self) -> u32 {
        match self {
            Products::Plain => 0,
            Products::Tf32 => 1,
            Products::Tf32x3 => 2,
            Products::Mfma => 3,
            Products::F16x3 => 4,
        }
    }

    /// Those whose results are as exact as those of f32's multiply-adds, the fastest first: what an f32 model is computed with where nobody says
    /// otherwise. AMD's matrix cores have not been weighed against its multiply-adds yet.
    pub const SINGLE: [Products; 3] = [Products::F16x3, Products::Tf32x3, Products::Plain];

    /// The first of them that a chip has.
    pub fn of_single(chip: &Chip) -> Products {
        Self::SINGLE.into_iter().find(|p| p.on(chip)).unwrap_or_default()
    }

    /// What computes a step beyond the range of these; none for those that have f32's.
    pub fn wider(self) -> Option<Products> {
        (self == Products::F16x3).then_some(Products::Tf32x3)
    }

    /// Whether tensor cores of NVIDIA's make them.
    pub fn by_tensor_cores(self) -> bool {
        matches!(self, Products::Tf32 | Products::Tf32x3 | Products::F16x3)
    }

    /// Whether a chip has the units.
    pub fn on(self, chip: &Chip) -> bool {
        match (self, chip) {
            (Products::Plain, _) => true,
            // The emulated device knows every order of lanes.
            (_, Chip::Host) => true,
            (p, Chip::Cuda(arch)) if p.by_tensor_cores() => {
                let number = arch.trim_start_matches("sm_").trim_end_matches(['a', 'f']);
                number.parse::<u32>().is_ok_and(|n| n >= 80)
            }
            (Products::Mfma, Chip::Hip(arch)) => {
                arch.starts_with("gfx90a") || arch.starts_with("gfx94") || arch.starts_with("gfx95")
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Products {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Products::Plain => "plain",
            Products::Tf32 => "tf32",
            Products::Tf32x3 => "tf32x3",
            Products::Mfma => "mfma",
            Products::F16x3 => "f16x3",
        })
    }
}

/// What the text is specialised for. Widths with `padded` in their names are multiples of 16.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Messages in f64 instead of f32.
    pub double: bool,
    /// Dn, De, Da.
    pub widths: [u32; 3],
    /// The same, padded.
    pub padded: [u32; 3],
    /// Width of the edge part of an angle's input.
    pub edge_inputs: u32,
    /// Heads of the node-edge message.
    pub heads: u32,
    /// X.
    pub axis: u32,
    /// Activation of the descriptor: the number of `math.h`, and its threshold.
    pub activation: (u32, f64),
    /// How states are stored: 0 as they are computed, 1 f32, 2 f16, 3 bf16.
    pub store: u32,
    /// Whether the exponential switch is used.
    pub exponential_switch: bool,
    /// Edge cutoff and where its switch begins, A.
    pub edge_cutoff: [f64; 2],
    /// Angle cutoff and where its switch begins, A.
    pub angle_cutoff: [f64; 2],
    /// `env_protection`, A.
    pub protection: f64,
    /// Whether raw distances enter.
    pub raw_distance: bool,
    /// `smooth_edge_update`.
    pub smooth: bool,
    /// Ne and Na.
    pub scales: [f64; 2],
    /// How products of f32 are made.
    pub products: Products,
    /// Rows in shared memory; [`Shape::fitted`] chooses them.
    pub rows: Rows,
}

/// Rows that a block keeps in shared memory at a time, by kernel. No bit of a result depends on them.
///
/// All but those of nodes, and what goes together of angles, are multiples of 4 (edges) and 8 (angles, of which an eighth at most go together as
/// receiving edges, and no more than are projected together): sums in parts rely on it (edge.h, angle_back.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Edges of `edge_forward` and `edge_projections`.
    pub edge: u32,
    /// Edges of `edge_backward`.
    pub edge_back: u32,
    /// Receiving edges of `angle_forward` whose sums are kept.
    pub sums: u32,
    /// Angles of `angle_forward`.
    pub angle: u32,
    /// Angles of `angle_backward`.
    pub angle_back: u32,
    /// Receiving edges of `angle_backward` that are worked on together; at most [`ROW_LANES`].
    pub second: u32,
    /// Receiving edges of `angle_backward` that are projected together; no more than its angles.
    pub own: u32,
    /// Nodes of a block; no more than a tile of matrix units has rows.
    pub node: u32,
}

impl Rows {
    /// Macros of the text and their values.
    pub fn defines(&self) -> [(&'static str, u32); 8] {
        [
            ("R_EDGE", self.edge),
            ("R_EDGE_BACK", self.edge_back),
            ("R_SUMS", self.sums),
            ("R_ANGLE", self.angle),
            ("R_ANGLE_BACK", self.angle_back),
            ("R_SECOND", self.second),
            ("R_OWN", self.own),
            ("R_NODE", self.node),
        ]
    }
}

/// Shared memory that a block may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes of a multiprocessor, and what every block costs beside its own; none where a block should have all that it can have.
    unit: Option<(u32, u32)>,
    /// Blocks of a multiprocessor, where that was asked for.
    blocks: Option<u32>,
    /// Whether kernels of four blocks (`KERNEL_OF_FOUR` of the text) are compiled for as many there.
    four: bool,
    /// Bytes that a block cannot exceed.
    pub most: u32,
}

impl Room {
    /// All that a block can have.
    pub fn all(bytes: u32) -> Self {
        Self { unit: None, blocks: None, four: false, most: bytes }
    }

    /// Where a multiprocessor has `unit` bytes, of which every block costs `reserved` beside its own, and a block at most `most`.
    pub fn of_unit(unit: u32, reserved: u32, most: u32) -> Self {
        Self { unit: Some((unit, reserved)), blocks: None, four: false, most }
    }

    /// The same, for so many blocks on a multiprocessor instead of what the products suggest.
    pub fn holding(self, blocks: Option<u32>) -> Self {
        Self { blocks, ..self }
    }

    /// The same, of a chip.
    pub fn of_chip(self, chip: &Chip) -> Self {
        let four = match chip {
            Chip::Cuda(arch) => arch.starts_with("sm_90"),
            // What is counted on the host is said of an H100.
            Chip::Host => true,
            Chip::Hip(_) => false,
        };
        Self { four, ..self }
    }

    /// Bytes that a block should not exceed, so that several are on a multiprocessor together.
    pub fn wanted(&self, products: Products) -> u32 {
        self.among(if products.by_tensor_cores() { BLOCKS_OF_TENSOR_CORES } else { BLOCKS })
    }

    /// The same where a kernel usually shares a multiprocessor with so many blocks.
    fn among(&self, usual: u32) -> u32 {
        let blocks = self.blocks.unwrap_or(usual);
        self.unit.map_or(self.most, |(unit, reserved)| (unit / blocks).saturating_sub(reserved).min(self.most))
    }
}

impl Source {
    /// The preludes alone, f32 or f64: what a kernel of one's own begins with.
    pub fn prelude(double: bool) -> Self {
        let real = if double { "double" } else { "float" };
        let defines = [("REAL", real.to_string()), ("THREADS", THREADS.to_string())];
        let defines = defines.map(|(name, value)| (name.to_string(), value)).to_vec();
        Self { name: "prelude".into(), text: joined(&PARTS[..PRELUDES]), defines }
    }

    /// The text of every shape.
    pub fn whole_text() -> String {
        joined(&PARTS)
    }

    /// The text for a shape.
    pub fn dpa3(shape: &Shape) -> Self {
        let mut defines: Vec<(String, String)> = Vec::new();
        let mut put = |name: &str, value: String| defines.push((name.into(), value));
        put("REAL", if shape.double { "double" } else { "float" }.into());
        put("THREADS", THREADS.to_string());
        for (k, name) in ["N", "E", "A"].iter().enumerate() {
            put(&format!("{name}_DIM"), shape.widths[k].to_string());
            put(&format!("{name}P"), shape.padded[k].to_string());
        }
        put("EC", shape.edge_inputs.to_string());
        put("HEADS", shape.heads.to_string());
        put("AXIS", shape.axis.to_string());
        put("PRODUCTS", shape.products.number().to_string());
        put("ACTIVATION", shape.activation.0.to_string());
        put("STORE", shape.store.to_string());
        put("EXP_SWITCH", u32::from(shape.exponential_switch).to_string());
        put("RAW_DISTANCE", u32::from(shape.raw_distance).to_string());
        put("SMOOTH", u32::from(shape.smooth).to_string());
        for (name, rows) in shape.rows.defines() {
            put(name, rows.to_string());
        }
        // Slope and value of silu at the threshold.
        let sigmoid = 1.0 / (1.0 + (-shape.activation.1).exp());
        let slope = sigmoid + shape.activation.1 * sigmoid * (1.0 - sigmoid);
        // Shortest decimals that read back as the same numbers.
        let reals = [
            ("ACTIVATION_THRESHOLD", shape.activation.1),
            ("ACTIVATION_SLOPE", slope),
            ("ACTIVATION_OFFSET", shape.activation.1 * sigmoid),
            ("E_CUT", shape.edge_cutoff[0]),
            ("E_SMOOTH", shape.edge_cutoff[1]),
            ("A_CUT", shape.angle_cutoff[0]),
            ("A_SMOOTH", shape.angle_cutoff[1]),
            ("PROTECTION", shape.protection),
            ("EDGE_ROOT", 1.0 / shape.scales[0].sqrt()),
            ("ANGLE_ROOT", 1.0 / shape.scales[1].sqrt().sqrt()),
            ("COSINE", (1.0 - 1e-6) / std::f64::consts::PI.sqrt()),
        ];
        for (name, value) in reals {
            put(name, format!("{value:?}"));
        }
        let [n, e, a] = shape.widths;
        let number = if shape.double { "f64" } else { "f32" };
        let name = match shape.products {
            Products::Plain => format!("dpa3-{n}-{e}-{a}-{number}"),
            other => format!("dpa3-{n}-{e}-{a}-{other}"),
        };
        Self { name, text: Self::whole_text(), defines }
    }
}

fn joined(parts: &[(&str, &str)]) -> String {
    parts.iter().map(|(file, part)| format!("#line 1 \"{file}\"\n{part}\n")).collect()
}

/// Numbers in the shared memory of a block, by kernel: the twins of the layouts in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedNumbers {
    /// `edge_forward`
    pub edge_forward: u32,
    /// `edge_projections`
    pub edge_projections: u32,
    /// `edge_backward`
    pub edge_backward: u32,
    /// `angle_forward`
    pub angle_forward: u32,
    /// `angle_backward`
    pub angle_backward: u32,
    /// `project`
    pub project: u32,
    /// `node_update`
    pub node_update: u32,
    /// `node_backward`
    pub node_backward: u32,
    /// `finish`
    pub finish: u32,
}

impl SharedNumbers {
    /// Of a shape.
    pub fn of(shape: &Shape) -> Self {
        let ([np, ep, ap], r) = (shape.padded, shape.rows);
        let mp = shape.heads * np;
        let gram = shape.axis * (ep + np);
        // `PARTS_OF_F` and `DOTSS` of angle_back.h.
        let parts = (THREADS * 4 / (ep + ap)).min(8 * ep / (ep + ap)).max(1);
        let dots = match shape.products {
            Products::Plain => ep / 4 + PAD,
            Products::Mfma => ep / 2 + PAD,
            Products::F16x3 if ep == 2 * ap => ep / 4 + 2,
            Products::Tf32 | Products::Tf32x3 | Products::F16x3 => ep / 8 + PAD,
        };
        // `SUM_PARTS`, `MOMENT_PARTS`, `BAR_PARTS` of edge.h.
        let sums = if mp <= THREADS { 4 } else { 1 };
        let [moments, bars] = [ep + np, mp + ep].map(|width| if width / 2 <= THREADS { 2 } else { 1 });
        let [ns, es, aps, ms, ws] = [np, ep, ap, mp, ep + ap].map(|width| width + PAD);
        Self {
            edge_forward: r.edge * (es + ms) + sums * mp + moments * 3 * (ep + np) + ep,
            edge_projections: r.edge * es,
            edge_backward: r.edge_back * (es + mp + ep + PAD + ms.max(es)) + bars * (mp + ep) + mp,
            // `MESSAGE_PARTS` of angle.h.
            angle_forward: r.angle * (aps + es + 2) + r.sums * (es + ws) + 4 * ep,
            angle_backward: r.angle_back * (aps + ws + dots + 1)
                // A number of 8 bytes for each row, eight for each of the receiving edges.
                + (r.angle_back + 8 * r.own) * if shape.double { 1 } else { 2 }
                + (2 * r.own * es).max(parts * r.second * (ep + ap))
                + r.own * (es + ws + 1)
                + ep
                + ap,
            project: r.node * ns,
            node_update: r.node * (ns + np + gram + PAD),
            node_backward: r.node * (ns + gram + PAD),
            finish: r.node * np,
        }
    }
}

/// Numbers of rows that a kernel may have, most first: edges; angles with the receiving edges beside them, forward and backward; nodes.
/// Backward about a tenth of the angles' rows go together as receiving edges: more would be of use only to centres with fewer than ten angle
/// edges. Beside the rows is how many of them are projected together. The first of the forward ones is for four blocks.
const EDGES: [(u32, u32); 3] = [(32, 0), (16, 0), (8, 0)];
const ANGLES: [(u32, u32); 9] = [(64, 16), (64, 32), (48, 32), (48, 16), (32, 32), (32, 16), (16, 16), (16, 8), (8, 8)];
const ANGLES_BACK: [(u32, u32); 10] =
    [(64, 16), (64, 8), (48, 16), (48, 8), (32, 16), (32, 8), (32, 4), (16, 8), (16, 2), (8, 1)];
/// Nodes fill a tile of matrix units; plain products have a thread for every row of eight. (Sixteen nodes of DPA-3.1-3M want 512 bytes more than
/// the 64 kB of AMD's compute units: eight there.)
const NODES: [(u32, u32); 5] = [(TILE_ROWS, 0), (8, 0), (4, 0), (2, 0), (1, 0)];
/// Fewest rows of `angle_backward` that are given up for more blocks: a centre with more angle edges than rows (23 on average in proteins and
/// water, rarely more than 32) goes by one receiving edge and waits for its angles' states. So many rows may take the room of two blocks. So
/// may nodes: each of their blocks reads half a megabyte of weights.
const WHOLE: u32 = 32;

impl Shape {
    /// The same shape with as many rows in shared memory as are wanted there, or the fewest that work; none where even those are too much.
    /// More rows read the weights less often, more blocks wait less.
    pub fn fitted(mut self, room: Room) -> Option<Self> {
        let number = if self.double { 8 } else { 4 };
        let plain = self.products == Products::Plain;
        let wanted = room.wanted(self.products);
        let four = room.four && self.products == Products::F16x3;
        let (angles, of_four) = if four { (&ANGLES[..], room.among(BLOCKS)) } else { (&ANGLES[1..], wanted) };
        // `dear` rows may take the room of two blocks.
        let mut choose = |list: &[(u32, u32)],
                          set: fn(&mut Rows, u32, u32),
                          dear: fn(u32) -> bool,
                          wanted: u32,
                          numbers: fn(&SharedNumbers) -> u32| {
            // A tile of a matrix unit that is half full costs as much as a full one. Lists below a tile are not multiplied by one.
            let tiles = !plain && list[0].0 >= TILE_ROWS;
            let mut bytes = u32::MAX;
            for &(rows, beside) in list {
                if tiles && rows % TILE_ROWS != 0 && bytes <= room.most {
                    break;
                }
                set(&mut self.rows, rows, beside);
                bytes = numbers(&SharedNumbers::of(&self)) * number;
                if bytes <= if dear(rows) { room.most.min(2 * wanted) } else { wanted } {
                    break;
                }
            }
            bytes <= room.most
        };
        let never = |_: u32| false;
        let fits = choose(&EDGES, |r, n, _| r.edge = n, never, wanted, |n| n.edge_forward.max(n.edge_projections))
            && choose(&EDGES, |r, n, _| r.edge_back = n, never, wanted, |n| n.edge_backward)
            && choose(angles, |r, n, k| (r.angle, r.sums) = (n, k), never, of_four, |n| n.angle_forward)
            && choose(
                &ANGLES_BACK,
                // Fewer than an eighth, which would take the last kilobyte of what leaves three blocks of an H100 their first cache.
                |r, n, k| (r.angle_back, r.second, r.own) = (n, n / 8 - n / 32, k),
                |rows| rows == WHOLE,
                wanted,
                |n| n.angle_backward,
            )
            && choose(
                if plain { &NODES[1..] } else { &NODES },
                |r, n, _| r.node = n,
                |_| true,
                wanted,
                |n| n.project.max(n.node_update).max(n.node_backward).max(n.finish),
            );
        fits.then_some(self)
    }
}
