//! Structure files against other programs.
//!
//! `structures write FOLDER` writes files of every format we write, with their numbers in JSON, for `tests/clients/open_with_ase.py`.
//! `structures read FILE [--structure FILE] [--select EXPRESSION] [--types A,B] [--topology FILE] [--elements FILE] [--index FILE]`
//! prints the frames of any file that we read as extended XYZ.

use std::io::Write;
use std::path::Path;

use weir_engine::structure::{
    frames, read, write_extxyz, ExtxyzWriter, ReadOptions, Structure, StructureError, TrajectoryWriter, XtcWriter,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["write", folder] => write_samples(Path::new(folder)),
        ["read", file, ref options @ ..] => print_frames(file, options),
        _ => {
            eprintln!("usage: structures write FOLDER | structures read FILE [options]");
            std::process::exit(2);
        }
    };
    if let Err(e) = result {
        eprintln!("{e}");
        std::process::exit(1);
    }
}

fn print_frames(file: &str, words: &[&str]) -> Result<(), StructureError> {
    let mut options = ReadOptions::default();
    let mut structure = None;
    for pair in words.chunks(2) {
        match *pair {
            ["--structure", f] => structure = Some(f),
            ["--select", e] => options.select = Some(e.to_string()),
            ["--types", t] => options.types = t.split(',').map(str::to_string).collect(),
            ["--topology", f] => options.topology = Some(f.into()),
            ["--elements", f] => options.elements = Some(f.into()),
            ["--index", f] => options.index = Some(f.into()),
            _ => {
                eprintln!("unknown option {pair:?}");
                std::process::exit(2);
            }
        }
    }
    let atoms = structure.map(|f| read(f, &options)).transpose()?;
    if atoms.is_some() {
        options.structure = atoms.as_ref();
        options.select = None;
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for frame in frames(file, &options)? {
        let frame = frame?;
        for remark in &frame.remarks {
            eprintln!("{remark}");
        }
        write_extxyz(&mut out, &frame).and_then(|()| out.flush()).expect("standard output takes the frame");
    }
    Ok(())
}

/// Pseudo-random numbers in 0..1 (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn rows(&mut self, n: usize, scale: f64) -> Vec<[f64; 3]> {
        (0..n).map(|_| [0; 3].map(|_| (self.next() - 0.5) * scale)).collect()
    }

    /// `waters` molecules in a triclinic box, and an atom without interactions.
    fn water(&mut self, waters: usize) -> Structure {
        let edge = 3.2 * (waters as f64).cbrt().max(1.0);
        let mut s = Structure {
            cell: Some([[edge, 0.0, 0.0], [edge / 3.0, edge, 0.0], [-edge / 5.0, edge / 7.0, edge]]),
            ..Structure::default()
        };
        for _ in 0..waters {
            let o = [0; 3].map(|_| self.next() * edge);
            for (symbol, offset) in [("O", [0.0; 3]), ("H", [0.9572, 0.0, 0.0]), ("H", [-0.24, 0.9266, 0.0])] {
                s.symbols.push(symbol.to_string());
                s.positions.push([0, 1, 2].map(|k| o[k] + offset[k]));
            }
        }
        s.original = (0..s.len()).collect();
        s.file_atoms = s.len();
        s
    }
}

fn write_samples(folder: &Path) -> Result<(), StructureError> {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    let mut random = Random(20_26);
    // Few atoms (xtc stores those plainly), a box, an open cluster, a large box.
    for (name, waters, periodic, labels) in
        [("few", 2, true, true), ("box", 64, true, true), ("cluster", 30, false, false), ("large", 9000, true, false)]
    {
        let start = random.water(waters);
        let mut xyz = ExtxyzWriter::create(folder.join(format!("{name}.extxyz")))?;
        let mut xtc = XtcWriter::create(folder.join(format!("{name}.xtc")))?;
        let mut numbers = Vec::new();
        for frame in 0..3u64 {
            let mut s = start.clone();
            let n = s.len();
            for (p, d) in s.positions.iter_mut().zip(random.rows(n, 0.2)) {
                *p = [0, 1, 2].map(|k| p[k] + d[k] - 3.0);
            }
            s.velocities = Some(random.rows(n, 20.0));
            s.forces = Some(random.rows(n, 3.0));
            s.step = Some(10 * frame);
            s.time = Some(0.005 * frame as f64);
            if !periodic {
                s.cell = None;
            }
            if labels {
                s.energy = Some(-467.123_456_789_012_3 - frame as f64 / 3.0);
                s.virial = Some([[1.0 / 3.0, 0.25, -0.5], [0.125, 2.0 / 3.0, 1e-9], [-0.75, 3e5, 0.1]]);
                s.title = "water, \"quoted\" \\ title".to_string();
            }
            numbers.push(format!(
                "{{\"positions\":{:?},\"velocities\":{:?},\"forces\":{:?},\"symbols\":{:?},\"cell\":{},\"energy\":{},\"virial\":{},\"step\":{},\"time\":{:?}}}",
                s.positions,
                s.velocities.as_deref().unwrap_or(&[]),
                s.forces.as_deref().unwrap_or(&[]),
                s.symbols,
                s.cell.map_or("null".to_string(), |c| format!("{c:?}")),
                s.energy.map_or("null".to_string(), |e| format!("{e:?}")),
                s.virial.map_or("null".to_string(), |v| format!("{v:?}")),
                10 * frame,
                0.005 * frame as f64,
            ));
            xyz.write_frame(&s)?;
            xtc.write_frame(&s)?;
            // A frame that a restart cuts away again.
            if frame == 1 {
                let (a, b) = (xyz.position(), xtc.position());
                xyz.write_frame(&start)?;
                xtc.write_frame(&start)?;
                xyz.truncate_to(a)?;
                xtc.truncate_to(b)?;
            }
        }
        xyz.sync()?;
        xtc.sync()?;
        std::fs::write(folder.join(format!("{name}.json")), format!("[{}]", numbers.join(",\n")))
            .map_err(|source| StructureError::Io { path: name.to_string(), source })?;
    }
    Ok(())
}
