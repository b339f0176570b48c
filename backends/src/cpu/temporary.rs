//! TEMPORARY until the planner lands: programs without budgets.
use weir_engine::plan::placement::*;

#[derive(Debug, Default, Clone)]
pub struct Plan {
    pub program: Program,
}

struct Maker {
    slots: Vec<Slot>,
    top: u64,
}
impl Maker {
    fn slot(&mut self, bytes: u64) -> Place {
        let bytes = bytes.div_ceil(ALIGN) * ALIGN;
        self.slots.push(Slot { tier: 0, offset: self.top, bytes });
        self.top += bytes;
        Place::Slot(SlotId(self.slots.len() as u32 - 1))
    }
    fn state(&mut self, p: &Problem, t: &TileSize, l: usize) -> State {
        State {
            edges: self.slot(t.edges * p.edge_bytes),
            angles: if p.angles[l] { self.slot(t.angles * p.angle_bytes) } else { Place::None },
        }
    }
}

pub fn plan(p: &Problem) -> Result<Plan, std::fmt::Error> {
    let k = match p.checkpoint {
        Checkpoint::Every(k) => k.min(p.layers.max(1)),
        _ => 1,
    };
    let mut m = Maker { slots: vec![], top: 0 };
    let l = p.layers;
    let initial =
        |l: usize| State { edges: Place::Initial, angles: if p.angles[l] { Place::Initial } else { Place::None } };
    let kept: Vec<Vec<State>> = p
        .tiles
        .iter()
        .map(|t| {
            (0..l)
                .map(|i| {
                    if i == 0 {
                        initial(0)
                    } else if i % k == 0 {
                        m.state(p, t, i)
                    } else {
                        State::default()
                    }
                })
                .collect()
        })
        .collect();
    // live: two slots a tile
    let live: Vec<[State; 2]> =
        p.tiles.iter().map(|t| if k > 1 { [m.state(p, t, 0), m.state(p, t, 0)] } else { Default::default() }).collect();
    let adjoint: Vec<State> = p.tiles.iter().map(|t| m.state(p, t, 0)).collect();
    let fix = |s: State, i: usize| State { edges: s.edges, angles: if p.angles[i] { s.angles } else { Place::None } };
    let at = |t: usize, i: usize| if i % k == 0 { kept[t][i] } else { fix(live[t][i % 2], i) };
    let mut forward = vec![Op::Geometry];
    for i in 0..l {
        forward.push(Op::Project { layer: i });
        for t in 0..p.tiles.len() {
            let output = if i + 1 < l { at(t, i + 1) } else { State::default() };
            forward.push(Op::Forward { layer: i, tile: t, input: at(t, i), output });
        }
    }
    forward.push(Op::Fit);
    let mut backward = vec![];
    for i in (0..l).rev() {
        for r in i / k * k..=i {
            backward.push(Op::Project { layer: r });
        }
        backward.push(Op::Clear { layer: i });
        for t in 0..p.tiles.len() {
            for r in i / k * k..i {
                backward.push(Op::Rebuild { layer: r, tile: t, input: at(t, r), output: at(t, r + 1) });
            }
            backward.push(Op::Backward { layer: i, tile: t, input: at(t, i), adjoint: fix(adjoint[t], i) });
            backward.push(Op::Gather { layer: i, tile: t });
        }
        backward.push(Op::Finish { layer: i });
    }
    for t in 0..p.tiles.len() {
        backward.push(Op::Assemble { tile: t, adjoint: fix(adjoint[t], 0) });
    }
    Ok(Plan { program: Program { slots: m.slots, banks: k, forward, backward, arena_bytes: vec![m.top], tickets: 0 } })
}
