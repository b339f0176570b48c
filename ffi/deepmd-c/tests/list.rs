//! A call with a neighbour list gives what a periodic search on the owned atoms gives, whatever the client says about ghosts.
#![allow(missing_docs)]
// SAFETY of all calls: they keep to the contract of the C interface, which is what is tested here.
#![allow(clippy::undocumented_unsafe_blocks)]

mod common;

use common::*;
use deepmd_c::*;
use std::ffi::c_int;
use std::ptr::{null, null_mut};

const ALL: [bool; 3] = [true; 3];

fn mapped(g: &Ghosts) -> *mut Nlist {
    let list = g.nlist();
    unsafe { DP_NlistSetMapping(list, g.owner.as_ptr()) };
    list
}

#[test]
fn a_list_with_a_mapping_equals_the_periodic_search() {
    let dp = open(&tiny());
    // The second cell is smaller than the cutoff of 4.5 A: atoms neighbour their own images.
    for (atoms, side) in [(24, 7.0), (8, 4.1)] {
        let s = system(atoms, side, 3);
        let expected = direct(&s, Some(&s.cell), true);
        let g = ghosts(&s, 5.5, ALL, 0);
        assert!(g.all() > 3 * atoms);
        let list = mapped(&g);
        let with_box = listed(dp, &g, list, s.cell.as_flattened().as_ptr(), 0, true);
        assert_eq!(ok(dp), "");
        assert_same(&with_box, &expected, "box");
        let av = expected.atomic_virial.as_ref().unwrap().concat();
        assert!(largest(&with_box.atomic_virial[..av.len()], &av) < 1e-9);
        assert!(with_box.atomic_virial[av.len()..].iter().all(|v| *v == 0.0));
        // Displacements stand in for a box that is missing or wrong.
        assert_same(&listed(dp, &g, list, null(), 0, false), &expected, "no box");
        let wrong = s.cell.map(|v| v.map(|x| 1.01 * x));
        assert_same(&listed(dp, &g, list, wrong.as_flattened().as_ptr(), 0, false), &expected, "wrong box");
        assert_eq!(ok(dp), "");
        unsafe { DP_DeleteNlist(list) };
    }
    unsafe { DP_DeleteDeepPot(dp) };
}

#[test]
fn a_box_says_nothing_about_directions_without_ghosts() {
    let dp = open(&tiny());
    let s = system(12, 5.0, 8);
    // Periodic along a and b only: the reference has its third vector far away.
    let mut slab = s.clone();
    slab.cell[2] = s.cell[2].map(|x| 10.0 * x);
    let expected = direct(&slab, Some(&slab.cell), false);
    let periodic = direct(&s, Some(&s.cell), false);
    let isolated = direct(&s, None, false);
    let g = ghosts(&s, 5.5, [true, true, false], 0);
    let list = mapped(&g);
    assert_same(&listed(dp, &g, list, s.cell.as_flattened().as_ptr(), 0, false), &expected, "slab");
    let alone = ghosts(&s, 5.5, [false; 3], 0);
    let free = alone.nlist();
    assert_same(&listed(dp, &alone, free, s.cell.as_flattened().as_ptr(), 0, false), &isolated, "isolated");
    assert!((expected.energy - periodic.energy).abs() > 1e-6 && (expected.energy - isolated.energy).abs() > 1e-6);
    unsafe {
        DP_DeleteNlist(list);
        DP_DeleteNlist(free);
        DP_DeleteDeepPot(dp);
    }
}

#[test]
fn lists_are_copied_when_they_are_new_and_reused_after() {
    let dp = open(&tiny());
    let mut s = system(24, 7.0, 5);
    let mut g = ghosts(&s, 5.5, ALL, 0);
    let list = mapped(&g);
    // Not before there was a new one.
    listed(dp, &g, list, null(), 3, false);
    assert!(ok(dp).contains("3 steps old"));
    assert_same(
        &listed(dp, &g, list, s.cell.as_flattened().as_ptr(), 0, false),
        &direct(&s, Some(&s.cell), false),
        "new",
    );
    // The client's arrays change their content: the copy counts. Atoms move within the skin, the cell is strained.
    g.rows.iter_mut().flatten().for_each(|j| *j = 0);
    g.numneigh.iter_mut().for_each(|n| *n = 0);
    let mut r = Numbers(77);
    for step in 1..4 {
        for v in &mut s.cell {
            v[0] *= 1.002;
        }
        for x in &mut s.x {
            x[0] *= 1.002;
            x.iter_mut().for_each(|c| *c += 0.1 * (r.next() - 0.5));
        }
        g.follow(&s);
        let o = listed(dp, &g, list, s.cell.as_flattened().as_ptr(), step, false);
        assert_eq!(ok(dp), "");
        assert_same(&o, &direct(&s, Some(&s.cell), false), "moved");
    }
    // A box that stops to agree is not used any more.
    let o = listed(dp, &g, list, system(1, 9.0, 1).cell.as_flattened().as_ptr(), 4, false);
    assert_same(&o, &direct(&s, Some(&s.cell), false), "box lost");
    // Another number of ghosts needs a new list.
    let fewer = ghosts(&s, 5.0, ALL, 0);
    listed(dp, &fewer, list, null(), 5, false);
    assert!(ok(dp).contains("give ago = 0"));
    unsafe {
        DP_DeleteNlist(list);
        DP_DeleteDeepPot(dp);
    }
}

#[test]
fn types_that_change_between_lists_are_not_ignored() {
    let dp = open(&tiny());
    let mut s = system(24, 7.0, 5);
    let mut g = ghosts(&s, 5.5, ALL, 0);
    let list = mapped(&g);
    let cell = s.cell;
    let cell = cell.as_flattened().as_ptr();
    let before = listed(dp, &g, list, cell, 0, false);
    let follow = |g: &mut Ghosts, s: &System| (0..g.all()).for_each(|k| g.types[k] = s.types[g.owner[k] as usize]);
    // Two atoms swap their types; later an atom becomes another element.
    let other = (1..24).find(|&k| s.types[k] != s.types[0]).unwrap();
    s.types.swap(0, other);
    follow(&mut g, &s);
    let swapped = listed(dp, &g, list, cell, 1, false);
    assert_eq!(ok(dp), "");
    assert_same(&swapped, &direct(&s, Some(&s.cell), false), "swapped");
    assert!((swapped.energy - before.energy).abs() > 1e-6);
    s.types[0] = (s.types[0] + 1) % 5;
    follow(&mut g, &s);
    assert_same(&listed(dp, &g, list, cell, 2, false), &direct(&s, Some(&s.cell), false), "another element");
    // Ghosts that did not follow are refused, not computed.
    s.types[0] = (s.types[0] + 1) % 5;
    g.types[0] = s.types[0];
    listed(dp, &g, list, cell, 3, false);
    assert!(ok(dp).contains("but its owner"));
    unsafe {
        DP_DeleteNlist(list);
        DP_DeleteDeepPot(dp);
    }
}

/// Runs one test of this program again; its standard error.
fn again(test: &str, log: &str) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let done = command.args(["--exact", test, "--nocapture"]).envs([("LIST_CHILD", "1"), ("WEIR_LOG", log)]);
    let done = done.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}{err}");
    err.into_owned()
}

#[test]
fn a_list_without_bonded_pairs_is_told_of() {
    if std::env::var_os("LIST_CHILD").is_none() {
        let test = "a_list_without_bonded_pairs_is_told_of";
        let told = again(test, "warn");
        assert_eq!(told.matches("special_bonds").count(), 1, "{told}");
        assert!(told.contains("lacks 2 pairs of atoms") && told.contains("neigh_modify exclude"), "{told}");
        assert!(!again(test, "error").contains("special_bonds"));
        return;
    }
    let s = system(24, 7.0, 3);
    // Whole lists, and virtual atoms, are nothing to talk of.
    let mut some = s.clone();
    some.types[3] = -1;
    for s in [&s, &some] {
        let (whole, g) = (open(&tiny()), ghosts(s, 5.5, ALL, 0));
        let list = mapped(&g);
        listed(whole, &g, list, s.cell.as_flattened().as_ptr(), 0, false);
        unsafe {
            DP_DeleteNlist(list);
            DP_DeleteDeepPot(whole);
        }
    }
    // As special_bonds takes them out: two pairs, one of them through the wall of the cell.
    let mut g = ghosts(&s, 5.5, ALL, 0);
    let far = |i: usize, j: usize| (0..3).map(|k| (g.x[3 * i + k] - g.x[3 * j + k]).powi(2)).sum::<f64>().sqrt();
    let ghost = (24..g.all()).find(|&j| g.owner[j] != 0 && far(0, j) < 4.0).unwrap();
    let (o, n) = (g.owner[ghost] as usize, g.images[ghost]);
    let back = (24..g.all()).find(|&j| g.owner[j] == 0 && g.images[j] == n.map(|k| -k)).unwrap();
    let near = (1..24).find(|&j| j != o && far(0, j) < 4.0).unwrap();
    for (i, j) in [(0, near), (near, 0), (0, ghost), (o, back)] {
        let at = g.rows[i].iter().position(|&k| k as usize == j).unwrap();
        g.rows[i].remove(at);
        g.numneigh[i] -= 1;
    }
    let list = mapped(&g);
    let dp = open(&tiny());
    for ago in [0, 1, 0] {
        listed(dp, &g, list, s.cell.as_flattened().as_ptr(), ago, false);
        assert_eq!(ok(dp), "");
    }
    unsafe {
        DP_DeleteNlist(list);
        DP_DeleteDeepPot(dp);
    }
}

#[test]
fn masked_bits_of_neighbours_are_not_part_of_their_index() {
    let dp = open(&tiny());
    let s = system(24, 7.0, 3);
    let g = ghosts(&s, 5.5, ALL, 0x4000_0000);
    let list = mapped(&g);
    listed(dp, &g, list, null(), 0, false);
    assert!(ok(dp).contains("is none of"), "without a mask the upper bits count");
    unsafe { DP_NlistSetMask(list, 0x1FFF_FFFF) };
    assert_same(
        &listed(dp, &g, list, s.cell.as_flattened().as_ptr(), 0, false),
        &direct(&s, Some(&s.cell), false),
        "mask",
    );
    unsafe {
        DP_DeleteNlist(list);
        DP_DeleteDeepPot(dp);
    }
}

/// The swaps that would make these ghosts: all at once, from the owners.
fn exchange(g: &Ghosts, rank: c_int, partner: c_int, ranks: c_int) -> *mut Nlist {
    let sent: &'static [c_int] = g.owner[g.local..].to_vec().leak();
    let half = sent.len() / 2;
    let leak = |v: Vec<c_int>| v.leak().as_ptr();
    let counts = leak(vec![half as c_int, (sent.len() - half) as c_int]);
    let lists = vec![sent.as_ptr(), sent[half..].as_ptr()].leak().as_ptr();
    let first = leak(vec![g.local as c_int, (g.local + half) as c_int]);
    let (to, from) = (leak(vec![rank, partner]), leak(vec![rank, partner]));
    let (i, n, f) = g.ilist();
    DP_NewNlist_comm(g.local as c_int, i, n, f, 2, counts, counts, first, lists, to, from, null_mut(), ranks)
}

#[test]
fn owners_follow_from_self_swaps_where_there_is_no_map() {
    let dp = open(&tiny());
    let s = system(24, 7.0, 3);
    let g = ghosts(&s, 5.5, ALL, 0);
    let list = exchange(&g, 0, 0, 1);
    let cell = s.cell.as_flattened().as_ptr();
    assert_same(&listed(dp, &g, list, cell, 0, false), &direct(&s, Some(&s.cell), false), "swaps");
    assert_eq!(ok(dp), "");
    // Owners that were derived must be confirmed by the box.
    listed(dp, &g, list, null(), 0, false);
    assert!(ok(dp).contains("atom_modify map yes"));
    let bare = g.nlist();
    listed(dp, &g, bare, cell, 0, false);
    assert!(ok(dp).contains("ghost atoms without owners"));
    unsafe {
        DP_DeleteNlist(list);
        DP_DeleteNlist(bare);
        DP_DeleteDeepPot(dp);
    }
}

#[test]
fn several_ranks_are_refused_in_one_sentence() {
    let dp = open(&tiny());
    let s = system(24, 7.0, 3);
    let g = ghosts(&s, 5.5, ALL, 0);
    let cell = s.cell.as_flattened().as_ptr();
    // Told so, by the number of ranks; or seen, because an old client tells nothing and swaps go elsewhere.
    for (partner, ranks, said) in [(1, 2, "2 MPI ranks"), (1, -1431655766, "2 MPI ranks")] {
        let list = exchange(&g, 0, partner, ranks);
        let before = listed(dp, &g, list, cell, 0, false);
        assert!(before.energy.is_nan());
        let message = ok(dp);
        assert!(message.starts_with(said) && message.contains("one rank"), "{message}");
        unsafe { DP_DeleteNlist(list) };
    }
    // An old client on one rank.
    let list = exchange(&g, 0, 0, 0x7fff_1234);
    assert_same(&listed(dp, &g, list, cell, 0, false), &direct(&s, Some(&s.cell), false), "garbage");
    unsafe {
        DP_DeleteNlist(list);
        DP_DeleteDeepPot(dp);
    }
}

#[test]
fn virtual_atoms_are_not_seen() {
    let dp = open(&tiny());
    let mut s = system(27, 7.0, 3);
    let real: Vec<usize> = (0..27).filter(|k| k % 5 != 2).collect();
    let only = System {
        x: real.iter().map(|&k| s.x[k]).collect(),
        types: real.iter().map(|&k| s.types[k]).collect(),
        cell: s.cell,
    };
    (0..27).filter(|k| k % 5 == 2).for_each(|k| s.types[k] = -1);
    let expected = direct(&only, Some(&only.cell), false);
    let g = ghosts(&s, 5.5, ALL, 0);
    let list = mapped(&g);
    let o = listed(dp, &g, list, s.cell.as_flattened().as_ptr(), 0, false);
    assert_eq!(ok(dp), "");
    assert!((o.energy - expected.energy).abs() < 1e-10);
    for (k, &row) in real.iter().enumerate() {
        assert!(largest(&o.force[3 * row..3 * row + 3], &expected.forces[k]) < 1e-10);
    }
    assert!((0..27).filter(|k| k % 5 == 2).all(|k| o.force[3 * k..3 * k + 3] == [0.0; 3]));
    unsafe {
        DP_DeleteNlist(list);
        DP_DeleteDeepPot(dp);
    }
}

#[test]
fn reordered_atoms_give_reordered_results() {
    let dp = open(&tiny());
    let s = system(24, 7.0, 3);
    let g = ghosts(&s, 5.5, ALL, 0);
    let list = mapped(&g);
    let a = listed(dp, &g, list, s.cell.as_flattened().as_ptr(), 0, false);
    // As LAMMPS does when it sorts atoms in space.
    let order: Vec<usize> = (0..24).map(|k| (k * 7 + 3) % 24).collect();
    let t = System {
        x: order.iter().map(|&k| s.x[k]).collect(),
        types: order.iter().map(|&k| s.types[k]).collect(),
        cell: s.cell,
    };
    let h = ghosts(&t, 5.5, ALL, 0);
    let other = mapped(&h);
    let b = listed(dp, &h, other, t.cell.as_flattened().as_ptr(), 0, false);
    assert!((a.energy - b.energy).abs() < 1e-10);
    for (k, &from) in order.iter().enumerate() {
        assert!(largest(&b.force[3 * k..3 * k + 3], &a.force[3 * from..3 * from + 3]) < 1e-10);
        assert!((b.atomic_energy[k] - a.atomic_energy[from]).abs() < 1e-10);
    }
    unsafe {
        DP_DeleteNlist(list);
        DP_DeleteNlist(other);
        DP_DeleteDeepPot(dp);
    }
}
