//! `weir serve` against servers written here: the numbers of `weir eval`, and what happens when a server speaks nonsense.
#![allow(missing_docs)]

#[path = "common/program.rs"]
mod program;

use program::program;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const BOHR: f64 = 0.529_177_210_544;
const HARTREE: f64 = 27.211_386_245_981;
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/water/model.dp");
const WATER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/water/start.extxyz");

fn weir() -> Command {
    program(Path::new("."), &[])
}

fn serve(address: &str, structure: &Path) -> Child {
    let mut command = weir();
    command
        .args(["serve", "--precision", "f64", "--threads", "1", "--wait", "20", "--ipi", address, MODEL])
        .arg(structure);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

/// The server's side.
struct Server<S> {
    stream: S,
}

impl<S: Read + Write> Server<S> {
    fn say(&mut self, header: &str) {
        self.stream.write_all(format!("{header:<12}").as_bytes()).unwrap();
    }
    fn hear(&mut self) -> String {
        let mut header = [0; 12];
        self.stream.read_exact(&mut header).unwrap();
        String::from_utf8_lossy(&header).trim_end().to_string()
    }
    fn ints(&mut self, values: &[i32]) {
        values.iter().for_each(|v| self.stream.write_all(&v.to_ne_bytes()).unwrap());
    }
    fn floats(&mut self, values: impl IntoIterator<Item = f64>) {
        let bytes: Vec<u8> = values.into_iter().flat_map(f64::to_ne_bytes).collect();
        self.stream.write_all(&bytes).unwrap();
    }
    fn get(&mut self, count: usize) -> Vec<f64> {
        let mut bytes = vec![0; 8 * count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes.chunks(8).map(|b| f64::from_ne_bytes(b.try_into().unwrap())).collect()
    }
    fn int(&mut self) -> i32 {
        let mut bytes = [0; 4];
        self.stream.read_exact(&mut bytes).unwrap();
        i32::from_ne_bytes(bytes)
    }
    fn positions(&mut self, s: &Water) {
        self.say("POSDATA");
        // Columns are vectors.
        self.floats((0..9).map(|at| s.cell[at % 3][at / 3] / BOHR));
        self.floats([0.0; 9]);
        self.ints(&[s.positions.len() as i32]);
        self.floats(s.positions.as_flattened().iter().map(|x| x / BOHR));
    }
    /// Energy (eV), forces (eV/A), virial (eV, rows).
    fn results(&mut self, atoms: usize) -> (f64, Vec<f64>, [[f64; 3]; 3]) {
        self.say("STATUS");
        assert_eq!(self.hear(), "HAVEDATA");
        self.say("GETFORCE");
        assert_eq!(self.hear(), "FORCEREADY");
        let energy = self.get(1)[0] * HARTREE;
        assert_eq!(self.int(), atoms as i32);
        let forces = self.get(3 * atoms).into_iter().map(|f| f * HARTREE / BOHR).collect();
        let wire = self.get(9);
        assert_eq!(self.int(), 0);
        let mut virial = [[0.0; 3]; 3];
        (0..9).for_each(|at| virial[at % 3][at / 3] = wire[at] * HARTREE);
        (energy, forces, virial)
    }
}

struct Water {
    cell: [[f64; 3]; 3],
    positions: Vec<[f64; 3]>,
}

fn water() -> Water {
    let text = std::fs::read_to_string(WATER).unwrap();
    let mut lines = text.lines();
    let atoms: usize = lines.next().unwrap().trim().parse().unwrap();
    let lattice = lines.next().unwrap().split("Lattice=\"").nth(1).unwrap().split('"').next().unwrap();
    let numbers: Vec<f64> = lattice.split_whitespace().map(|w| w.parse().unwrap()).collect();
    let row = |r: usize| [numbers[3 * r], numbers[3 * r + 1], numbers[3 * r + 2]];
    let position = |line: &str| {
        let words: Vec<f64> = line.split_whitespace().skip(1).take(3).map(|w| w.parse().unwrap()).collect();
        [words[0], words[1], words[2]]
    };
    Water { cell: [row(0), row(1), row(2)], positions: lines.take(atoms).map(position).collect() }
}

fn eval() -> serde_json::Value {
    let out = weir().args(["eval", MODEL, WATER, "--precision", "f64", "--json", "-", "-q"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn same_as_eval(server: &mut Server<impl Read + Write>, s: &Water) {
    let (energy, forces, virial) = server.results(s.positions.len());
    let expected = eval();
    // Positions went through bohr and back.
    let near = |a: f64, b: &serde_json::Value, tolerance: f64| {
        let b = b.as_f64().unwrap();
        assert!((a - b).abs() <= tolerance, "{a} {b}");
    };
    near(energy, &expected["energy"], 1e-8);
    for (at, f) in forces.iter().enumerate() {
        near(*f, &expected["forces"][at / 3][at % 3], 1e-9);
    }
    for (r, row) in virial.iter().enumerate() {
        for (c, v) in row.iter().enumerate() {
            near(*v, &expected["virial"][r][c], 1e-8);
        }
    }
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn accept(listener: &TcpListener) -> Server<TcpStream> {
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    Server { stream }
}

#[test]
fn served_forces_are_those_of_eval_and_exit_ends_cleanly() {
    let (listener, address) = listen();
    let child = serve(&address, Path::new(WATER));
    let (mut server, s) = (accept(&listener), water());
    server.say("STATUS");
    assert_eq!(server.hear(), "READY");
    server.say("INIT");
    server.ints(&[3, 4]);
    server.stream.write_all(b"abcd").unwrap();
    server.positions(&s);
    same_as_eval(&mut server, &s);
    // Another bead, far away, and back.
    let mut other = water();
    other.positions.iter_mut().for_each(|p| p[0] += 1.7);
    server.positions(&other);
    let (moved, ..) = server.results(s.positions.len());
    server.positions(&s);
    let (back, ..) = server.results(s.positions.len());
    assert!((moved - back).abs() < 1e-8, "{moved} {back}");
    server.say("EXIT");
    let (code, text) = end(child);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3 force calls"), "{text}");
}

#[test]
fn a_server_that_leaves_while_it_is_answered_has_left() {
    for (ask, calls) in [("GETFORCE", 1), ("STATUS", 0)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let child = serve(&format!("unix:{}", path.display()), Path::new(WATER));
        let (mut server, s) = (Server { stream: listener.accept().unwrap().0 }, water());
        // Deaf before it asks: the answer meets a broken pipe whenever it comes.
        server.stream.shutdown(std::net::Shutdown::Read).unwrap();
        if calls > 0 {
            server.positions(&s);
        }
        server.say(ask);
        let (code, text) = end(child);
        assert!(code == Some(0) && text.contains(&format!("{calls} force calls")), "{ask}: {text}");
    }
}

#[test]
fn a_unix_socket_serves_too_and_a_server_that_comes_late_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let child = serve(&format!("unix:{}", path.display()), Path::new(WATER));
    std::thread::sleep(Duration::from_millis(700));
    let listener = UnixListener::bind(&path).unwrap();
    let (mut server, s) = (Server { stream: listener.accept().unwrap().0 }, water());
    server.positions(&s);
    same_as_eval(&mut server, &s);
    // Gone without a word between two messages.
    drop(server);
    assert_eq!(end(child).0, Some(0));
}

#[test]
fn headers_that_mean_nothing_are_passed_over_until_it_is_nothing_else() {
    let (listener, address) = listen();
    let child = serve(&address, Path::new(WATER));
    let mut server = accept(&listener);
    for _ in 0..3 {
        server.say("\u{7}NOISE");
    }
    server.say("STATUS");
    assert_eq!(server.hear(), "READY");
    for _ in 0..8 {
        server.say("HTTP/1.1 GET");
    }
    let (code, text) = end(child);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("3 headers") && text.contains("HTTP/1.1 GET"), "{text}");
}

#[test]
fn a_server_with_other_atoms_wrong_lengths_or_nan_gets_a_clear_error() {
    type Say = fn(&mut Server<TcpStream>);
    let cases: [(Say, &str); 5] = [
        (
            |s| {
                s.say("POSDATA");
                s.floats([0.0; 18]);
                s.ints(&[7]);
            },
            "7 atoms, the structure has 192",
        ),
        (
            |s| {
                s.say("INIT");
                s.ints(&[0, -5]);
            },
            "-5 bytes",
        ),
        (|s| s.say("GETFORCE"), "before it sent positions"),
        (
            |s| {
                let mut w = water();
                w.positions[5][1] = f64::NAN;
                s.positions(&w);
            },
            "positions number 1",
        ),
        (
            |s| {
                s.say("POSDATA");
                s.floats([0.0; 5]);
                s.stream.shutdown(std::net::Shutdown::Both).unwrap();
            },
            "in the middle of POSDATA",
        ),
    ];
    for (say, expected) in cases {
        let (listener, address) = listen();
        let child = serve(&address, Path::new(WATER));
        let mut server = accept(&listener);
        say(&mut server);
        let (code, text) = end(child);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn nobody_there_is_an_error_after_the_wait_and_wrong_addresses_are_wrong_usage() {
    let (listener, address) = listen();
    drop(listener);
    let run = |arguments: &[&str]| {
        let out = weir().arg("serve").args(arguments).args([MODEL, WATER]).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, text) = run(&["--ipi", &address, "--wait", "0.3"]);
    assert!(code == Some(1) && text.contains("no i-PI server"), "{text}");
    let (code, text) = run(&["--ipi", "nowhere"]);
    assert!(code == Some(2) && text.contains("HOST:PORT"), "{text}");
}
