//! The doors behind which another process computes: `weir serve` over a UNIX socket, and Python.

use crate::libraries::Door;
use crate::system::System;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const BOHR: f64 = 0.529177210544;
const HARTREE: f64 = 27.211386246;

/// CPU seconds of all threads of a process, Linux.
fn cpu_of(child: &Child) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
    let one = |task: std::fs::DirEntry| -> Option<f64> {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    tasks.filter_map(one).sum::<f64>() * 1e-9
}

/// i-PI's protocol; a step is from the positions sent to the forces read.
pub struct Ipi {
    child: Child,
    stream: UnixStream,
    out: Vec<u8>,
    back: Vec<u8>,
    energy: f64,
}

impl Ipi {
    pub fn new(weir: &Path, model: &Path, system: &System, scratch: &Path) -> Self {
        let structure = scratch.join("system.extxyz");
        let [a, b, c] = system.side;
        let mut text = format!(
            "{}\nLattice=\"{a} 0 0 0 {b} 0 0 0 {c}\" pbc=\"T T T\" Properties=species:S:1:pos:R:3\n",
            system.len()
        );
        for (s, x) in system.symbols.iter().zip(&system.x) {
            text += &format!("{s} {} {} {}\n", x[0], x[1], x[2]);
        }
        std::fs::write(&structure, text).unwrap();
        let socket = scratch.join("socket");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let address = format!("unix:{}", socket.display());
        let mut command = Command::new(weir);
        command.args(["--quiet", "serve", "--ipi", &address]).args([model, &structure]);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let stream = listener.accept().unwrap().0;
        let mut door = Ipi { child, stream, out: Vec::new(), back: vec![0; 24 * system.len()], energy: 0.0 };
        if door.status() == "NEEDINIT" {
            door.header("INIT");
            door.stream.write_all(&[0i32.to_ne_bytes(), 0i32.to_ne_bytes()].concat()).unwrap();
        }
        door
    }

    fn header(&mut self, word: &str) {
        self.stream.write_all(format!("{word:<12}").as_bytes()).unwrap();
    }

    fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn status(&mut self) -> String {
        self.header("STATUS");
        String::from_utf8_lossy(&self.read::<12>()).trim().to_string()
    }
}

impl Door for Ipi {
    fn ready(&mut self, system: &System) {
        self.out.clear();
        self.out.extend(format!("{:<12}", "POSDATA").bytes());
        let mut put = |x: f64| self.out.extend(x.to_ne_bytes());
        let cell = system.cell();
        (0..9).for_each(|k| put(cell[k / 3][k % 3] / BOHR));
        (0..9).for_each(|k| put(if k % 4 == 0 { BOHR / cell[k / 3][k / 3] } else { 0.0 }));
        self.out.extend((system.len() as i32).to_ne_bytes());
        for x in system.x.iter().flatten() {
            self.out.extend((x / BOHR).to_ne_bytes());
        }
    }

    fn step(&mut self) {
        assert_eq!(self.status(), "READY");
        let out = std::mem::take(&mut self.out);
        self.stream.write_all(&out).unwrap();
        assert_eq!(self.status(), "HAVEDATA");
        self.header("GETFORCE");
        assert_eq!(&self.read::<12>(), b"FORCEREADY  ");
        self.energy = f64::from_ne_bytes(self.read()) * HARTREE;
        assert_eq!(i32::from_ne_bytes(self.read()) as usize * 24, self.back.len());
        self.stream.read_exact(&mut self.back).unwrap();
        self.read::<72>();
        let extra = i32::from_ne_bytes(self.read());
        let mut more = vec![0; extra as usize];
        self.stream.read_exact(&mut more).unwrap();
        self.out = out;
    }

    fn energy(&self) -> f64 {
        self.energy
    }

    fn elsewhere(&mut self) -> (f64, Option<f64>) {
        (cpu_of(&self.child), None)
    }
}

impl Drop for Ipi {
    fn drop(&mut self) {
        let _ = self.stream.write_all(b"EXIT        ");
        let _ = self.child.wait();
    }
}

/// Reads positions, answers with energy, wall and CPU seconds of a step with forces.
const SCRIPT: &str = "
import sys, time
import numpy as np
from ase import Atoms
from weir import Calculator
model, side, symbols = sys.argv[1], [float(v) for v in sys.argv[2].split()], open(sys.argv[3]).read().split()
atoms = Atoms(symbols, np.zeros((len(symbols), 3)), cell=side, pbc=True)
atoms.calc = Calculator(model)
while True:
    data = sys.stdin.buffer.read(24 * len(symbols))
    if len(data) < 24 * len(symbols):
        break
    x = np.frombuffer(data).reshape(-1, 3)
    wall, cpu = time.perf_counter(), time.process_time()
    atoms.positions = x
    forces = atoms.get_forces()
    energy = atoms.get_potential_energy()
    done = np.array([energy, time.perf_counter() - wall, time.process_time() - cpu])
    sys.stdout.buffer.write(done.tobytes())
    sys.stdout.buffer.flush()
";

/// ASE's calculator. What the pipe takes is not counted.
pub struct Python {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    out: Vec<u8>,
    energy: f64,
    wall: f64,
    cpu: f64,
}

impl Python {
    pub fn new(python: &str, model: &Path, system: &System, scratch: &Path) -> Self {
        let (script, symbols) = (scratch.join("door.py"), scratch.join("symbols"));
        std::fs::write(&script, SCRIPT).unwrap();
        std::fs::write(&symbols, system.symbols.join(" ")).unwrap();
        let side = system.side.map(|s| s.to_string()).join(" ");
        let mut command = Command::new(python);
        command.arg(&script).arg(model).arg(side).arg(&symbols).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Python { child, input, output, out: Vec::new(), energy: 0.0, wall: 0.0, cpu: 0.0 }
    }
}

impl Door for Python {
    fn ready(&mut self, system: &System) {
        self.out = system.x.iter().flatten().flat_map(|v| v.to_ne_bytes()).collect();
    }

    fn step(&mut self) {
        let input = self.input.as_mut().unwrap();
        input.write_all(&self.out).unwrap();
        input.flush().unwrap();
        let mut bytes = [0; 24];
        self.output.read_exact(&mut bytes).unwrap();
        let number = |k: usize| f64::from_ne_bytes(bytes[8 * k..8 * k + 8].try_into().unwrap());
        self.wall = number(1);
        self.cpu += number(2);
        self.energy = number(0);
    }

    fn energy(&self) -> f64 {
        self.energy
    }

    fn elsewhere(&mut self) -> (f64, Option<f64>) {
        (self.cpu, Some(self.wall))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}
