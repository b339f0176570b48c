//! Promises of the trajectory writers.

mod structure_support;

use std::path::Path;

use structure_support::Random;
use weir_engine::structure::{
    frames, ExtxyzWriter, ReadOptions, Structure, StructureError, TrajectoryWriter, XtcWriter,
};

/// Random structures.
struct Sample(Random);

impl Sample {
    /// `n` atoms in a box of `edge` A around the origin, molecules of three close together if `bonded`.
    fn structure(&mut self, n: usize, edge: f64, bonded: bool) -> Structure {
        let cell = edge.max(1.0);
        let mut s =
            Structure { cell: Some([[cell, 0.0, 0.0], [0.0, cell, 0.0], [0.0, 0.0, cell]]), ..Structure::default() };
        for i in 0..n {
            let p = match s.positions.last() {
                Some(previous) if bonded && i % 3 != 0 => previous.map(|x| x + 2.0 * (self.0.unit() - 0.5)),
                _ => [0; 3].map(|_| (self.0.unit() - 0.5) * edge),
            };
            s.positions.push(p);
            s.symbols.push(if i % 3 == 0 { "O" } else { "H" }.to_string());
        }
        s.original = (0..n).collect();
        s.file_atoms = n;
        s
    }
}

fn read_all(path: &Path, atoms: &Structure) -> Vec<Structure> {
    let options = ReadOptions { structure: Some(atoms), ..ReadOptions::default() };
    frames(path, &options).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn xtc_reads_back_to_half_a_step_here_and_in_molly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.xtc");
    let mut random = Sample(Random(5));
    for (n, edge, bonded, precision) in [
        (1, 10.0, true, 1000.0),
        (9, 10.0, true, 1000.0),
        (10, 10.0, true, 1000.0),
        (11, 0.001, true, 1000.0),
        (300, 20.0, true, 1000.0),
        (300, 20.0, false, 1000.0),
        (3000, 60.0, true, 100.0),
        (3000, 60.0, true, 10000.0),
        (300, 60.0, true, 100_000.0),
        // Ranges above 2^24 steps: stored coordinate by coordinate.
        (300, 6000.0, true, 100_000.0),
        (300, 2e5, true, 1000.0),
    ] {
        let mut writer = XtcWriter::create(&path).unwrap().with_precision(precision);
        let written: Vec<Structure> = (0..3)
            .map(|k| Structure { step: Some(k), time: Some(k as f64 / 4.0), ..random.structure(n, edge, bonded) })
            .collect();
        for s in &written {
            writer.write_frame(s).unwrap_or_else(|e| panic!("{n} atoms, {edge} A, {precision}: {e}"));
        }
        writer.sync().unwrap();
        let found = read_all(&path, &written[0]);
        assert_eq!(found.len(), 3);
        let mut other = molly::XTCReader::open(&path).unwrap();
        for (a, b) in found.iter().zip(&written) {
            assert_eq!((a.step, a.time), (b.step, b.time));
            // Half a step in A; f32 keeps 24 bits of the coordinate and of its product with the precision.
            let half = 5.0 / f64::from(precision) + edge.max(10.0) * 2e-7;
            for (x, y) in a.positions.iter().flatten().zip(b.positions.iter().flatten()) {
                assert!((x - y).abs() <= half || n <= 9, "{n} atoms, {edge} A, {precision}: {x} {y}");
                assert!((x - y).abs() <= edge.max(10.0) * 1e-6 + half);
            }
            let mut frame = molly::Frame::default();
            other.read_frame(&mut frame).unwrap();
            for (x, y) in a.positions.iter().flatten().zip(&frame.positions) {
                assert!((x - 10.0 * f64::from(*y)).abs() <= edge.max(10.0) * 1e-6, "{x} {y}");
            }
        }
    }
}

#[test]
fn frames_that_xtc_cannot_hold_are_refused_and_leave_the_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.xtc");
    let good = Sample(Random(6)).structure(30, 10.0, true);
    let mut writer = XtcWriter::create(&path).unwrap();
    writer.write_frame(&good).unwrap();
    let position = writer.position();
    let with = |change: &dyn Fn(&mut Structure)| {
        let mut s = good.clone();
        change(&mut s);
        s
    };
    let far = with(&|s| s.positions[7][1] = 1e9);
    let nan = with(&|s| s.positions[7][1] = f64::NAN);
    let late = with(&|s| s.step = Some(1 << 31));
    for bad in [far, nan, late] {
        let e = writer.write_frame(&bad).unwrap_err();
        assert!(matches!(e, StructureError::Unwritable { .. }), "{e}");
        assert_eq!(writer.position(), position);
    }
    // 66 bits for the three ranges together: more than the encoder gets right.
    let mut fine = XtcWriter::create(folder.path().join("b.xtc")).unwrap().with_precision(1e6);
    let e = fine.write_frame(&Sample(Random(7)).structure(300, 50.0, true)).unwrap_err();
    assert!(e.to_string().contains("64 bits"), "{e}");
    // Successive atoms all far apart.
    let chain = with(&|s| s.positions.iter_mut().enumerate().for_each(|(i, p)| *p = [i as f64 * 5000.0, 0.0, 0.0]));
    let mut coarse = XtcWriter::create(folder.path().join("c.xtc")).unwrap();
    let e = coarse.write_frame(&chain).unwrap_err();
    assert!(e.to_string().contains("apart"), "{e}");
    writer.write_frame(&good).unwrap();
    assert_eq!(read_all(&path, &good).len(), 2);
}

fn restart(
    make: &dyn Fn(&Path) -> Box<dyn TrajectoryWriter>,
    append: &dyn Fn(&Path) -> Box<dyn TrajectoryWriter>,
    name: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join(format!("whole.{name}")), folder.path().join(format!("cut.{name}")));
    let mut random = Sample(Random(8));
    let written: Vec<Structure> = (0..6)
        .map(|k| Structure { step: Some(k), time: Some(0.5 * k as f64), ..random.structure(40, 12.0, true) })
        .collect();
    let mut writer = make(&whole);
    for s in &written {
        writer.write_frame(s).unwrap();
    }
    drop(writer);

    let mut writer = make(&cut);
    let mut restart_point = 0;
    for (k, s) in written[..5].iter().enumerate() {
        if k == 3 {
            writer.sync().unwrap();
            restart_point = writer.position();
            assert_eq!(restart_point, cut.metadata().unwrap().len());
        }
        writer.write_frame(s).unwrap();
    }
    drop(writer);
    // The run was killed while it wrote: half a frame stands at the end.
    let length = cut.metadata().unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(length - 17).unwrap();
    let mut writer = append(&cut);
    assert_eq!(writer.position(), length - 17);
    writer.truncate_to(restart_point).unwrap();
    for s in &written[3..] {
        writer.write_frame(s).unwrap();
    }
    assert_eq!(writer.position(), whole.metadata().unwrap().len());
    assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&cut).unwrap());
    let steps: Vec<Option<u64>> = read_all(&cut, &written[0]).iter().map(|s| s.step).collect();
    assert_eq!(steps, (0..6).map(Some).collect::<Vec<_>>());
    let e = writer.truncate_to(1 << 40).unwrap_err();
    assert!(matches!(e, StructureError::Truncated { .. }), "{e}");
}

#[test]
fn a_restarted_trajectory_is_the_same_file_byte_for_byte() {
    restart(&|p| Box::new(ExtxyzWriter::create(p).unwrap()), &|p| Box::new(ExtxyzWriter::append(p).unwrap()), "extxyz");
    restart(&|p| Box::new(XtcWriter::create(p).unwrap()), &|p| Box::new(XtcWriter::append(p).unwrap()), "xtc");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_that_names_the_file() {
    let s = Sample(Random(9)).structure(12, 10.0, true);
    let mut writers: [Box<dyn TrajectoryWriter>; 2] =
        [Box::new(ExtxyzWriter::append("/dev/full").unwrap()), Box::new(XtcWriter::append("/dev/full").unwrap())];
    for writer in &mut writers {
        let e = writer.write_frame(&s).unwrap_err();
        assert!(matches!(&e, StructureError::Io { path, .. } if path == "/dev/full"), "{e}");
        assert_eq!(writer.position(), 0);
    }
    assert!(ExtxyzWriter::create("/no/such/folder/a.extxyz").is_err());
}
