//! The seam for several processes: where the program exchanges ghosts, and that what it exchanges is enough.
#![allow(missing_docs)]

mod common;

use common::{bits, largest_difference, system};
use std::sync::{Arc, Barrier, Mutex};
use weir_backends::cpu::{create_cpu, Checkpoint, CpuCalculator, CpuOptions, PrecisionChoice};
use weir_engine::backend::{Calculator, ComputeError, FrameParameters, Request, Results};
use weir_engine::exchange::{GhostExchange, NodeRows, Numbers};
use weir_engine::graph::{GivenList, Images, Pair};
use weir_engine::model::{new_model, Model};
use weir_engine::plan::placement::Op;

const CELL: [[f64; 3]; 3] = [[9.5, 0.0, 0.0], [1.2, 9.2, 0.0], [-1.9, 0.9, 9.9]];
const LAYERS: usize = 6;

/// Six layers of the tiny shape: a ghost is some layers' reach away from what it depends on.
fn model() -> Arc<Model> {
    let mut model = new_model("tiny", 5).unwrap();
    let d = &mut model.descriptor;
    d.layers.extend(d.layers.clone());
    d.options.nlayers = d.layers.len();
    assert_eq!(d.options.nlayers, LAYERS);
    Arc::new(model)
}

fn options(precision: PrecisionChoice) -> CpuOptions {
    CpuOptions { precision, threads: 1, tile_edges: 400, poison: true, ..Default::default() }
}

/// Writes down every call; all atoms are its own.
struct Notes(Arc<Mutex<Vec<(char, usize)>>>);

impl GhostExchange for Notes {
    fn owned(&self, atoms: usize) -> usize {
        atoms
    }
    fn features(&mut self, layer: usize, rows: NodeRows) -> Result<(), ComputeError> {
        check_padding(rows);
        self.0.lock().unwrap().push(('f', layer));
        Ok(())
    }
    fn adjoints(&mut self, layer: usize, rows: NodeRows) -> Result<(), ComputeError> {
        check_padding(rows);
        self.0.lock().unwrap().push(('a', layer));
        Ok(())
    }
}

fn check_padding(rows: NodeRows) {
    let Numbers::F64(values) = rows.values else { panic!("double precision was asked for") };
    assert_eq!(values.len(), rows.order.len() * rows.stride);
    for row in values.chunks_exact(rows.stride) {
        assert!(row[..rows.width].iter().all(|x| x.is_finite()));
        assert!(row[rows.width..].iter().all(|x| *x == 0.0));
    }
}

#[test]
fn each_layer_above_the_first_is_exchanged_once_in_each_direction_whatever_is_rebuilt() {
    let (x, types) = system(60, 9.0, 17, 2);
    let base = options(PrecisionChoice::F64);
    let run = |calculator: &mut CpuCalculator, atomic_virial| {
        let mut out = Results::default();
        let request = Request { atomic_virial };
        calculator.compute(&x, Some(&CELL), &FrameParameters::default(), request, &mut out).unwrap();
        bits(&out)
    };
    let make = |o: &CpuOptions| create_cpu(model(), &types, o).unwrap();
    let expected = run(&mut make(&base), true);
    for (checkpoint, rebuilds) in [(Checkpoint::All, false), (Checkpoint::Every(2), true)] {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let mut calculator = make(&CpuOptions { checkpoint, ..base.clone() });
        calculator.set_exchange(Box::new(Notes(notes.clone()))).unwrap();
        assert_eq!(run(&mut calculator, true), expected);
        let program = &calculator.plan().unwrap().program;
        assert_eq!(program.backward.iter().any(|op| matches!(op, Op::Rebuild { .. })), rebuilds);
        let pass: Vec<_> = (1..LAYERS).map(|l| ('f', l)).chain((1..LAYERS).rev().map(|l| ('a', l))).collect();
        // Atomic virials take three more passes.
        assert_eq!(*notes.lock().unwrap(), [&pass[..]; 4].concat());
    }
}

/// Owns all atoms but the last.
struct LastIsGhost;

impl GhostExchange for LastIsGhost {
    fn owned(&self, atoms: usize) -> usize {
        atoms - 1
    }
    fn features(&mut self, _: usize, _: NodeRows) -> Result<(), ComputeError> {
        panic!("nothing may be computed")
    }
    fn adjoints(&mut self, _: usize, _: NodeRows) -> Result<(), ComputeError> {
        panic!("nothing may be computed")
    }
}

#[test]
fn a_domain_with_ghosts_does_not_search_neighbours_itself() {
    let (x, types) = system(20, 7.0, 17, 2);
    let mut calculator = create_cpu(model(), &types, &options(PrecisionChoice::F64)).unwrap();
    calculator.set_exchange(Box::new(LastIsGhost)).unwrap();
    let mut out = Results::default();
    let e = calculator.compute(&x, None, &FrameParameters::default(), Request::default(), &mut out).unwrap_err();
    assert!(e.to_string().contains("neighbours must be given"), "{e}");
}

/// Rows that domains show each other, and where they wait for each other.
struct Board {
    rows: [Mutex<Vec<Vec<f64>>>; 2],
    barrier: Barrier,
}

/// One of two domains.
struct Domain {
    me: usize,
    owned: usize,
    /// Of each ghost: domain and index there of its owner.
    owner: Vec<(usize, usize)>,
    /// Of each domain: owners of its ghosts.
    theirs: [Vec<(usize, usize)>; 2],
    board: Arc<Board>,
    /// Domains that do not talk.
    silent: bool,
}

impl Domain {
    /// Rows in the caller's order.
    fn read(rows: &NodeRows) -> Vec<Vec<f64>> {
        let mut out = vec![Vec::new(); rows.order.len()];
        for (k, &atom) in rows.order.iter().enumerate() {
            let at = k * rows.stride..k * rows.stride + rows.width;
            out[atom as usize] = match &rows.values {
                Numbers::F32(v) => v[at].iter().map(|x| f64::from(*x)).collect(),
                Numbers::F64(v) => v[at].to_vec(),
            };
        }
        out
    }

    fn write(rows: NodeRows, values: &[Vec<f64>]) {
        let NodeRows { values: mut to, stride, order, .. } = rows;
        for (k, &atom) in order.iter().enumerate() {
            for (c, &x) in values[atom as usize].iter().enumerate() {
                match &mut to {
                    Numbers::F32(v) => v[k * stride + c] = x as f32,
                    Numbers::F64(v) => v[k * stride + c] = x,
                }
            }
        }
    }
}

impl GhostExchange for Domain {
    fn owned(&self, _: usize) -> usize {
        self.owned
    }

    fn features(&mut self, _: usize, rows: NodeRows) -> Result<(), ComputeError> {
        if self.silent {
            return Ok(());
        }
        let mut values = Self::read(&rows);
        *self.board.rows[self.me].lock().unwrap() = values[..self.owned].to_vec();
        self.board.barrier.wait();
        for (ghost, &(domain, atom)) in self.owner.iter().enumerate() {
            values[self.owned + ghost] = self.board.rows[domain].lock().unwrap()[atom].clone();
        }
        self.board.barrier.wait();
        Self::write(rows, &values);
        Ok(())
    }

    fn adjoints(&mut self, _: usize, rows: NodeRows) -> Result<(), ComputeError> {
        if self.silent {
            return Ok(());
        }
        let mut values = Self::read(&rows);
        let ghosts = values.split_off(self.owned);
        values.extend(ghosts.iter().map(|g| vec![0.0; g.len()]));
        *self.board.rows[self.me].lock().unwrap() = ghosts;
        self.board.barrier.wait();
        for (domain, owners) in self.theirs.iter().enumerate() {
            let sent = self.board.rows[domain].lock().unwrap();
            for (row, &(to, atom)) in sent.iter().zip(owners) {
                if to == self.me {
                    values[atom].iter_mut().zip(row).for_each(|(a, b)| *a += b);
                }
            }
        }
        self.board.barrier.wait();
        Self::write(rows, &values);
        Ok(())
    }
}

/// The atoms of a domain: its own, then ghosts (images of anybody's atoms within the cutoff of its own), and the list of its own.
struct Part {
    x: Vec<[f64; 3]>,
    types: Vec<i32>,
    /// Index in the whole system.
    atom: Vec<usize>,
    owned: usize,
    list: GivenList,
}

fn part(x: &[[f64; 3]], types: &[i32], mine: &[usize], cutoff: f64) -> Part {
    let near = |a: &[f64; 3], b: &[f64; 3]| (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>() <= cutoff * cutoff;
    let mut p = Part {
        x: mine.iter().map(|&i| x[i]).collect(),
        types: mine.iter().map(|&i| types[i]).collect(),
        atom: mine.to_vec(),
        owned: mine.len(),
        list: GivenList { first: vec![0], pairs: Vec::new() },
    };
    for n in (0..27).map(|k| [k / 9 - 1, k / 3 % 3 - 1, k % 3 - 1].map(f64::from)) {
        for j in 0..x.len() {
            let y = std::array::from_fn(|k| x[j][k] + (0..3).map(|v| n[v] * CELL[v][k]).sum::<f64>());
            let own = n == [0.0; 3] && mine.contains(&j);
            if !own && p.x[..p.owned].iter().any(|z| near(z, &y)) {
                p.x.push(y);
                p.types.push(types[j]);
                p.atom.push(j);
            }
        }
    }
    for i in 0..p.x.len() {
        for j in 0..p.x.len() {
            if i < p.owned && i != j && near(&p.x[i], &p.x[j]) {
                p.list.pairs.push(Pair { owner: j as u32, image: [0; 3] });
            }
        }
        p.list.first.push(p.list.pairs.len() as u32);
    }
    p
}

/// Energy, forces and virial of both domains together.
fn in_two_domains(
    precision: PrecisionChoice,
    x: &[[f64; 3]],
    types: &[i32],
    silent: bool,
) -> (f64, Vec<f64>, Vec<f64>) {
    let model = model();
    let side: Vec<usize> = x.iter().map(|r| usize::from(r[0] > 4.0)).collect();
    let mine = [0, 1].map(|d| (0..x.len()).filter(|&i| side[i] == d).collect::<Vec<_>>());
    let parts = [0, 1].map(|d| part(x, types, &mine[d], model.descriptor.options.e_rcut));
    assert!(parts.iter().all(|p| p.owned > 10 && p.x.len() > 2 * p.owned));
    let place = |i: usize| (side[i], mine[side[i]].iter().position(|&k| k == i).unwrap());
    let owners = [0, 1].map(|d| parts[d].atom[parts[d].owned..].iter().map(|&i| place(i)).collect::<Vec<_>>());
    let board = Arc::new(Board { rows: Default::default(), barrier: Barrier::new(2) });
    let results: Vec<Results> = std::thread::scope(|scope| {
        let run = |d: usize| {
            let (p, board, owners, model) = (&parts[d], board.clone(), owners.clone(), model.clone());
            move || {
                // Domains need not plan alike: the second keeps nothing that it can rebuild.
                let checkpoint = [Checkpoint::All, Checkpoint::Every(3)][d];
                let o = CpuOptions { checkpoint, ..options(precision) };
                let mut calculator = create_cpu(model, &p.types, &o).unwrap();
                let [a, b] = owners.clone();
                let owner = owners[d].clone();
                let domain = Domain { me: d, owned: p.owned, owner, theirs: [a, b], board, silent };
                calculator.set_exchange(Box::new(domain)).unwrap();
                let (none, request, mut out) = (FrameParameters::default(), Request::default(), Results::default());
                calculator.take_list(&p.list, &p.x, None).unwrap();
                // Twice: nothing is left over from a step.
                for _ in 0..2 {
                    calculator.compute_given(&p.x, Images::None, &none, request, &mut out).unwrap();
                }
                out
            }
        };
        let handles = [0, 1].map(|d| scope.spawn(run(d)));
        handles.map(|h| h.join().unwrap()).into()
    });
    let (mut energy, mut forces, mut virial) = (0.0, vec![0.0; 3 * x.len()], vec![0.0; 9]);
    for (r, p) in results.iter().zip(&parts) {
        energy += r.energy;
        assert!(r.atomic_energy[p.owned..].iter().all(|e| *e == 0.0));
        for (f, &i) in r.forces.iter().zip(&p.atom) {
            (0..3).for_each(|k| forces[3 * i + k] += f[k]);
        }
        virial.iter_mut().zip(r.virial.as_flattened()).for_each(|(a, b)| *a += b);
    }
    (energy, forces, virial)
}

#[test]
fn two_domains_that_exchange_node_rows_are_one_system() {
    let (x, types) = system(60, 9.0, 17, 2);
    for (precision, tolerance) in [(PrecisionChoice::F64, 1e-10), (PrecisionChoice::F32, 2e-5)] {
        let mut whole = create_cpu(model(), &types, &options(precision)).unwrap();
        let mut expected = Results::default();
        whole.compute(&x, Some(&CELL), &FrameParameters::default(), Request::default(), &mut expected).unwrap();
        let (energy, forces, virial) = in_two_domains(precision, &x, &types, false);
        let off = (
            (energy - expected.energy).abs(),
            largest_difference(&forces, expected.forces.as_flattened()),
            largest_difference(&virial, expected.virial.as_flattened()),
        );
        println!("{precision:?}: energy {:.1e} eV, forces {:.1e} eV/A, virial {:.1e} eV", off.0, off.1, off.2);
        assert!(off.0 < tolerance && off.1 < tolerance && off.2 < 10.0 * tolerance, "{off:?}");
        // Without the exchange a halo of one cutoff is not enough, which is why it is there.
        let (silent, _, _) = in_two_domains(precision, &x, &types, true);
        assert!((silent - expected.energy).abs() > 100.0 * tolerance, "{silent} {}", expected.energy);
    }
}
