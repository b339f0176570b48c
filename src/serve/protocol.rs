//! The socket protocol of i-PI, the driver's side: headers of 12 bytes, then native-endian `i32` and `f64` in atomic units.

use std::io::{self, Read, Write};
use thiserror::Error;

/// A (CODATA 2022).
pub const BOHR: f64 = 0.529_177_210_544;
/// eV (CODATA 2022).
pub const HARTREE: f64 = 27.211_386_245_981;

const HEADER: usize = 12;
/// Headers that mean nothing, in a row, before the stream is given up.
const GARBAGE: usize = 8;
/// Bytes of an INIT message at most; i-PI sends a few dozen.
const INIT: i32 = 1 << 20;

/// Why a conversation ends early.
#[derive(Debug, Error)]
pub enum ProtocolError {
    /// Another number of atoms than the structure has.
    #[error("the server sends {sent} atoms, the structure has {expected} (after selection, without virtual sites): start both from the same atoms")]
    Atoms {
        /// By the server.
        sent: i32,
        /// In the structure.
        expected: usize,
    },
    /// A length that cannot be.
    #[error("the server announces {0} bytes after INIT; that is no i-PI")]
    Length(i32),
    /// Forces without positions.
    #[error("the server asks for forces before it sent positions")]
    NoPositions,
    /// Nothing but noise.
    #[error("{GARBAGE} headers in a row mean nothing (the last: \"{0}\"); that is no i-PI")]
    Garbage(String),
    /// The connection ended inside a message.
    #[error("the connection ended in the middle of {0}")]
    Cut(&'static str),
    /// The system.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// What the server wants.
#[derive(Debug, PartialEq)]
pub enum Message {
    /// To know our state.
    Status,
    /// Anything about this bead; nothing that a potential needs.
    Init {
        /// Number of the replica.
        bead: i32,
    },
    /// New positions (and cell), left in [`Wire`].
    Positions,
    /// The results.
    GetForce,
    /// Us to leave.
    Exit,
}

/// What a driver answers to STATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for positions.
    Ready,
    /// Has results.
    HaveData,
}

/// One connection and the last positions that came through it.
pub struct Wire<S> {
    stream: S,
    bytes: Vec<u8>,
    /// Rows are the cell vectors, A.
    pub cell: [[f64; 3]; 3],
    /// A, in the order of the structure.
    pub positions: Vec<[f64; 3]>,
    /// Headers that meant nothing, of the whole conversation.
    pub garbage: usize,
}

impl<S: Read + Write> Wire<S> {
    /// A conversation about this many atoms.
    pub fn new(stream: S, atoms: usize) -> Self {
        Wire { stream, bytes: Vec::new(), cell: [[0.0; 3]; 3], positions: vec![[0.0; 3]; atoms], garbage: 0 }
    }

    /// The next message; a closed connection is [`Message::Exit`]. Headers that mean nothing are passed over.
    ///
    /// # Errors
    /// [`ProtocolError`].
    pub fn next(&mut self) -> Result<Message, ProtocolError> {
        for _ in 0..GARBAGE {
            let mut header = [0u8; HEADER];
            if !self.header(&mut header)? {
                return Ok(Message::Exit);
            }
            match header.trim_ascii() {
                b"STATUS" => return Ok(Message::Status),
                b"GETFORCE" => return Ok(Message::GetForce),
                b"EXIT" => return Ok(Message::Exit),
                b"INIT" => return self.init(),
                b"POSDATA" => return self.posdata(),
                _ => self.garbage += 1,
            }
            self.bytes.clear();
            self.bytes.extend(header);
        }
        Err(ProtocolError::Garbage(self.bytes.escape_ascii().to_string()))
    }

    /// Answers STATUS. False where the server has left.
    ///
    /// # Errors
    /// A broken connection.
    pub fn state(&mut self, state: State) -> Result<bool, ProtocolError> {
        self.bytes.clear();
        self.head(match state {
            State::Ready => b"READY       ",
            State::HaveData => b"HAVEDATA    ",
        });
        self.flush()
    }

    /// Answers GETFORCE: energy (eV), forces (eV/A) and virial (eV, sum of r x F). False where the server has left.
    ///
    /// # Errors
    /// A broken connection.
    pub fn forces(&mut self, energy: f64, forces: &[[f64; 3]], virial: &[[f64; 3]; 3]) -> Result<bool, ProtocolError> {
        self.bytes.clear();
        self.head(b"FORCEREADY  ");
        let mut number = |x: f64| self.bytes.extend(x.to_ne_bytes());
        number(energy / HARTREE);
        self.bytes.extend((forces.len() as i32).to_ne_bytes());
        for f in forces.as_flattened() {
            self.bytes.extend((f * (BOHR / HARTREE)).to_ne_bytes());
        }
        // Columns first, as the cell.
        for column in 0..3 {
            for row in virial {
                self.bytes.extend((row[column] / HARTREE).to_ne_bytes());
            }
        }
        // No extra text.
        self.bytes.extend(0i32.to_ne_bytes());
        self.flush()
    }

    fn head(&mut self, header: &[u8; HEADER]) {
        self.bytes.extend(header);
    }

    /// False where nobody is there to hear: a server may leave, or be killed, while we compute.
    fn flush(&mut self) -> Result<bool, ProtocolError> {
        let sent = self.stream.write_all(&self.bytes).and_then(|()| self.stream.flush());
        match sent {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// False at the end of the stream.
    fn header(&mut self, header: &mut [u8; HEADER]) -> Result<bool, ProtocolError> {
        let mut got = 0;
        while got < HEADER {
            match self.stream.read(&mut header[got..]) {
                Ok(0) if got == 0 => return Ok(false),
                Ok(0) => return Err(ProtocolError::Cut("a header")),
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // A server that is killed resets.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset && got == 0 => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    /// Fills `self.bytes` with this many.
    fn fill(&mut self, count: usize, what: &'static str) -> Result<(), ProtocolError> {
        self.bytes.resize(count, 0);
        self.stream.read_exact(&mut self.bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => ProtocolError::Cut(what),
            _ => e.into(),
        })
    }

    fn int(&mut self, what: &'static str) -> Result<i32, ProtocolError> {
        self.fill(4, what)?;
        Ok(i32::from_ne_bytes([self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3]]))
    }

    fn init(&mut self) -> Result<Message, ProtocolError> {
        let bead = self.int("INIT")?;
        let length = self.int("INIT")?;
        if !(0..=INIT).contains(&length) {
            return Err(ProtocolError::Length(length));
        }
        self.fill(length as usize, "INIT")?;
        Ok(Message::Init { bead })
    }

    fn posdata(&mut self) -> Result<Message, ProtocolError> {
        const WHAT: &str = "POSDATA";
        // Cell and its inverse, which nobody needs.
        self.fill(18 * 8, WHAT)?;
        let mut cell = [[0.0; 3]; 3];
        for (at, number) in numbers(&self.bytes).take(9).enumerate() {
            cell[at % 3][at / 3] = number * BOHR;
        }
        let (sent, expected) = (self.int(WHAT)?, self.positions.len());
        if sent < 0 || sent as usize != expected {
            return Err(ProtocolError::Atoms { sent, expected });
        }
        self.fill(expected * 24, WHAT)?;
        for (to, from) in self.positions.as_flattened_mut().iter_mut().zip(numbers(&self.bytes)) {
            *to = from * BOHR;
        }
        self.cell = cell;
        Ok(Message::Positions)
    }
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = f64> + '_ {
    bytes.chunks_exact(8).map(|b| f64::from_ne_bytes(b.try_into().expect("eight bytes")))
}
