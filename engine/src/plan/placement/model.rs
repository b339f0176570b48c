//! The problem in the planner's terms: size classes of tiles, links, and the means a plan may use.

use super::problem::{Checkpoint, Permission, Problem, TileSize};
use super::schedule::{Schedule, ANGLES, EDGES};
use super::ALIGN;

/// Size classes at most.
const GROUPS: usize = 4;

/// Copies of one tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    out_rate: f64,
    in_rate: f64,
    latency: f64,
    /// Share of a copy that slows the computation.
    pub drag: f64,
    /// Seconds that a second of one direction costs the other.
    pub cross: f64,
}

impl Link {
    /// s
    pub fn out(&self, bytes: u64) -> f64 {
        self.latency + bytes as f64 / self.out_rate
    }
    /// s
    pub fn load(&self, bytes: u64) -> f64 {
        self.latency + bytes as f64 / self.in_rate
    }
}

/// Tiles of nearly the same size; they use slots of one size and the mean of their work.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Tiles, ascending.
    pub members: Vec<u32>,
    /// Bytes of a state by class.
    pub state: [u64; 2],
    /// Bytes of an adjoint by class.
    pub adjoint: [u64; 2],
    /// s, to make state(l + 1) again.
    pub rebuild: Vec<f64>,
    /// s, to make the angles of state(l + 1) again.
    pub rebuild_angles: Vec<f64>,
}

/// The means that the plan of a step may use; each costs room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Means {
    /// Longest segment, and so the number of projection banks.
    pub banks: usize,
    /// Kept states may lie in slower tiers.
    pub spill: bool,
    /// Segments may be rebuilt for each layer.
    pub each: bool,
    /// Live states may pass through slower tiers.
    pub live: bool,
    /// Adjoints may pass through slower tiers.
    pub adjoint: bool,
}

/// Problem and derived quantities.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// L
    pub layers: usize,
    /// By class: number of layers that read it; states 1..depth exist.
    pub depth: [usize; 2],
    /// By tier that may be used.
    pub links: Vec<Link>,
    /// Bytes of each usable tier; of tier 0 without the fixed part.
    pub capacity: Vec<u64>,
    /// Size classes.
    pub groups: Vec<Group>,
    /// s by phase that every plan takes, without projections.
    pub base: Vec<f64>,
    /// s to project a layer.
    pub project: f64,
    /// Bytes of a bank.
    pub bank: u64,
    /// Largest state and adjoint of a tile, bytes.
    pub largest: [u64; 2],
    /// Bytes of kept states that adjoints which start in one operation replace, of the largest tile.
    pub replaced: u64,
    /// Policy.
    pub checkpoint: Checkpoint,
    /// Whether rebuilding is allowed.
    pub rebuild: bool,
}

fn aligned(bytes: u64) -> u64 {
    bytes.div_ceil(ALIGN) * ALIGN
}

impl Model {
    pub fn new(problem: &Problem) -> Self {
        let layers = problem.layers;
        let depth = [layers, problem.angles.iter().take(layers).take_while(|&&a| a).count()];
        let tiers = if problem.spill == Permission::Allowed { problem.tiers.len() } else { 1 };
        let links = problem.tiers[..tiers].iter().map(|t| Link {
            out_rate: t.out_rate,
            in_rate: t.in_rate,
            latency: t.latency,
            drag: (1.0 - t.overlap).clamp(0.0, 1.0),
            cross: (1.0 / t.both.max(0.5) - 1.0).max(0.0),
        });
        let groups = groups(problem, depth);
        let mut base = vec![0.0; 2 * layers];
        for tile in &problem.tiles {
            for l in 0..layers {
                base[l] += problem.rates.forward[l].seconds(tile);
                base[2 * layers - 1 - l] += problem.rates.backward[l].seconds(tile);
            }
        }
        let atoms: u64 = problem.tiles.iter().map(|t| t.atoms).sum();
        let most = |f: &dyn Fn(&Group) -> [u64; 2]| {
            [EDGES, ANGLES].iter().map(|&c| groups.iter().map(|g| f(g)[c]).max().unwrap_or(0)).sum()
        };
        Self {
            layers,
            depth,
            links: links.collect(),
            capacity: (problem.tiers[..tiers].iter().enumerate())
                .map(|(k, t)| if k == 0 { t.capacity.saturating_sub(problem.fixed_bytes) } else { t.capacity })
                .collect(),
            base,
            project: problem.rates.project * atoms as f64,
            bank: problem.bank_bytes,
            largest: [most(&|g| g.state), most(&|g| g.adjoint)],
            // Where the last layer has angles (sequential_update), the adjoints of both classes start together.
            replaced: match depth[EDGES] == depth[ANGLES] {
                true => most(&|g| g.state),
                false => groups.iter().flat_map(|g| g.state).max().unwrap_or(0),
            },
            groups,
            checkpoint: problem.checkpoint,
            rebuild: problem.rebuild == Permission::Allowed && problem.checkpoint != Checkpoint::All,
        }
    }

    /// Phase of a layer backward.
    pub fn backward(&self, layer: usize) -> usize {
        2 * self.layers - 1 - layer
    }

    /// Whether a state may start a segment, that is, be kept whole.
    pub fn may_keep(&self, layer: usize) -> bool {
        match self.checkpoint {
            Checkpoint::Every(k) => layer % k.max(1) == 0 || self.in_last_stride(layer, k.max(1)),
            _ => true,
        }
    }

    /// Whether a state may be rebuilt.
    pub fn may_rebuild(&self, layer: usize) -> bool {
        self.rebuild
            && match self.checkpoint {
                Checkpoint::Every(k) => layer % k.max(1) != 0,
                _ => true,
            }
    }

    /// Whether edges may be kept where angles are rebuilt.
    pub fn may_split(&self) -> bool {
        self.checkpoint == Checkpoint::Auto
    }

    // The backward pass enters the last stride at once: nothing is saved by rebuilding what is still there.
    fn in_last_stride(&self, layer: usize, k: usize) -> bool {
        layer / k == (self.layers - 1) / k
    }

    /// s by phase that every plan with these means takes. A projection counts in its own layer's phase; the forward pass leaves the
    /// last ones in the banks.
    pub fn constant(&self, means: &Means) -> Vec<f64> {
        let mut t = self.base.clone();
        for l in 0..self.layers {
            t[l] += self.project;
            if l + means.banks < self.layers {
                t[self.backward(l)] += self.project;
            }
        }
        t
    }

    /// s to copy every state out and in, through the slowest link.
    pub fn copies(&self) -> f64 {
        let once = |link: &Link| -> f64 {
            let tile = |g: &Group| g.state.map(|bytes| link.out(bytes) + link.load(bytes)).iter().sum::<f64>();
            self.groups.iter().map(|g| g.members.len() as f64 * tile(g)).sum::<f64>() * self.layers as f64
        };
        self.links.iter().skip(1).map(once).fold(0.0, f64::max)
    }

    /// Bytes of tier 0 beyond what stays: banks, the second slot of the tile at work, staging for `ahead` tiles.
    pub fn reserve(&self, means: &Means, ahead: u64) -> u64 {
        let [state, adjoint] = self.largest;
        let forward = match means {
            Means { live: true, .. } => (2 * ahead + 2) * state,
            Means { spill: false, banks: 1, .. } => 0,
            _ => state,
        };
        let work = match means {
            Means { each: true, .. } => 2 * state,
            // Where an adjoint starts, the kept state that it replaces is still there.
            Means { spill: false, banks: 1, .. } => self.replaced,
            _ => state,
        };
        let staging = if means.spill { ahead * state } else { 0 };
        let passing = if means.adjoint { (2 * ahead + 1) * adjoint } else { 0 };
        means.banks as u64 * self.bank + forward.max(work + staging + passing)
    }

    /// The least means that allow a set of schedules.
    pub fn means_of<'s>(&self, schedules: impl Iterator<Item = &'s Schedule>) -> Means {
        let mut m = Means { banks: 1, spill: false, each: false, live: false, adjoint: false };
        for s in schedules {
            m.banks = m.banks.max(s.segments.iter().map(|x| x.end - x.start).max().unwrap_or(1));
            m.each |= s.segments.iter().any(|x| x.each && x.end > x.start + 1);
            m.spill |= s.keep.iter().flatten().any(|k| k.is_some_and(|tier| tier > 0));
            m.live |= s.live != [0; 2];
            m.adjoint |= s.adjoint != [0; 2];
        }
        m
    }
}

fn groups(problem: &Problem, depth: [usize; 2]) -> Vec<Group> {
    let bytes = |t: &TileSize| t.edges * problem.stored_edge_bytes + t.angles * problem.stored_angle_bytes;
    let mut order: Vec<u32> = (0..problem.tiles.len() as u32).collect();
    let size = |t: u32| problem.tiles[t as usize];
    order.sort_by_key(|&t| (bytes(&size(t)), size(t), t));
    let mut distinct = order.clone();
    distinct.dedup_by_key(|t| size(*t));
    let mut ratio = if distinct.len() <= GROUPS { 1.0 } else { 1.04 };
    let cut = loop {
        let mut cut: Vec<Vec<u32>> = Vec::new();
        let mut first = TileSize::default();
        for &t in &order {
            let same = size(t) == first || (ratio > 1.0 && bytes(&size(t)) as f64 <= ratio * bytes(&first) as f64);
            match cut.last_mut() {
                Some(group) if same => group.push(t),
                _ => {
                    first = size(t);
                    cut.push(vec![t]);
                }
            }
        }
        if ratio == 1.0 || cut.len() <= GROUPS {
            break cut;
        }
        ratio = 1.0 + 1.5 * (ratio - 1.0);
    };
    let whole = |mut members: Vec<u32>| {
        members.sort_unstable();
        let most = |f: &dyn Fn(&TileSize) -> u64| members.iter().map(|&t| f(&size(t))).max().unwrap_or(0);
        let [edges, angles] = [most(&|t| t.edges), if depth[ANGLES] > 0 { most(&|t| t.angles) } else { 0 }];
        let mean = |work: &[super::Work]| {
            let sum = |w: &super::Work| members.iter().map(|&t| w.seconds(&size(t))).sum::<f64>();
            work.iter().map(|w| sum(w) / members.len() as f64).collect()
        };
        Group {
            state: [aligned(edges * problem.stored_edge_bytes), aligned(angles * problem.stored_angle_bytes)],
            adjoint: [aligned(edges * problem.edge_bytes), aligned(angles * problem.angle_bytes)],
            rebuild: mean(&problem.rates.rebuild),
            rebuild_angles: mean(&problem.rates.rebuild_angles),
            members,
        }
    };
    cut.into_iter().map(whole).collect()
}
