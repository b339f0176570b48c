//! The energy log: GROMACS puts no energy of a PLUMED kernel into its own files.

use std::fs::{rename, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use weir_ffi::Error;

const HEAD: &str = "\
# Energy and virial of Weir's model; GROMACS does not add them to its .edr file.
# virial: sum over atoms of r (x) F, positive where the atoms push outwards; GROMACS prints -1/2 of it.
@    title \"Weir\"
@    xaxis  label \"Time (ps)\"
@    yaxis  label \"(kJ/mol)\"
@TYPE xy
@ s0 legend \"Energy\"
@ s1 legend \"Virial-XX\"
@ s2 legend \"Virial-YY\"
@ s3 legend \"Virial-ZZ\"
@ s4 legend \"Virial-XY\"
@ s5 legend \"Virial-XZ\"
@ s6 legend \"Virial-YZ\"
";

/// A log being written.
pub(super) struct EnergyLog {
    path: PathBuf,
    file: File,
}

impl EnergyLog {
    /// A new log; a file of this name is kept as `#NAME.1#`. When a run goes on, its own log goes on: lines from `from` (ps) on, which were
    /// written after the checkpoint, go.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path, goes_on: bool, from: f64) -> Result<Self, Error> {
        let name = path.display();
        let told = |e: std::io::Error| Error::Argument(format!("energy log {name}: {e}"));
        if goes_on && path.is_file() {
            let kept = before(path, from).map_err(told)?;
            // All or nothing: a full disk must not cost what was written.
            let fresh = path.with_extension("xvg.new");
            std::fs::write(&fresh, kept).and_then(|()| rename(&fresh, path)).map_err(told)?;
            let file = OpenOptions::new().append(true).open(path).map_err(told)?;
            return Ok(Self { path: path.into(), file });
        }
        if path.exists() {
            let (folder, last) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
            let old = (1..).map(|k| folder.join(format!("#{}.{k}#", last.to_string_lossy()))).find(|p| !p.exists());
            rename(path, old.expect("one of them is free")).map_err(told)?;
        }
        let mut file = File::create(path).map_err(told)?;
        file.write_all(HEAD.as_bytes()).map_err(told)?;
        Ok(Self { path: path.into(), file })
    }

    /// A line: time in ps, energy and virial in kJ/mol.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, time: f64, energy: f64, v: &[[f64; 3]; 3]) -> Result<(), Error> {
        let off = |a: usize, b: usize| 0.5 * (v[a][b] + v[b][a]);
        let mut line = format!("{time:14.6} {energy:22.10}");
        for x in [v[0][0], v[1][1], v[2][2], off(0, 1), off(0, 2), off(1, 2)] {
            line += &format!(" {x:18.8}");
        }
        line.push('\n');
        let done = self.file.write_all(line.as_bytes());
        done.map_err(|e| Error::Argument(format!("energy log {}: {e}", self.path.display())))
    }
}

/// Whole lines of times before `from`.
fn before(path: &Path, from: f64) -> std::io::Result<String> {
    let mut kept = String::new();
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let time = line.split_whitespace().next().and_then(|t| t.parse::<f64>().ok());
        let comment = line.starts_with(['#', '@']);
        if line.ends_with('\n') && (comment || time.is_some_and(|t| t < from)) {
            kept.push_str(&line);
        }
        line.clear();
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_cuts_what_came_after_its_checkpoint_and_a_new_one_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.xvg");
        let v = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]];
        let mut log = EnergyLog::open(&path, false, 0.0).unwrap();
        for k in 0..4 {
            log.write(0.5 * f64::from(k), -1.5, &v).unwrap();
        }
        // A line that was not finished.
        log.file.write_all(b"   9.0 12").unwrap();
        let mut log = EnergyLog::open(&path, true, 0.99).unwrap();
        log.write(1.0, -2.5, &v).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<Vec<f64>> = text
            .lines()
            .filter(|l| !l.starts_with(['#', '@']))
            .map(|l| l.split_whitespace().map(|w| w.parse().unwrap()).collect())
            .collect();
        assert_eq!(rows.iter().map(|r| r[0]).collect::<Vec<_>>(), [0.0, 0.5, 1.0]);
        assert_eq!(rows[2], [1.0, -2.5, 1.0, 5.0, 9.0, 3.0, 5.0, 7.0]);
        EnergyLog::open(&path, false, 0.0).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("#e.xvg.1#")).unwrap(), text);
        // Nothing to go on from: a log of its own.
        EnergyLog::open(&folder.path().join("f.xvg"), true, 3.0).unwrap();
    }
}
