//! Where the server listens.

use crate::problem::Usage;
use anyhow::{Context, Result};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// i-PI and ASE put their sockets here.
const PREFIX: &str = "/tmp/ipi_";
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(200);

/// TCP or a UNIX socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Address::Tcp(a) => f.write_str(a),
            Address::Unix(p) => write!(f, "unix:{}", p.display()),
        }
    }
}

impl Address {
    /// From `HOST:PORT`, `unix:NAME` (the socket `/tmp/ipi_NAME`) or `unix:/PATH`.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(name) = text.strip_prefix("unix:") {
            if name.is_empty() {
                return Err(Usage("--ipi unix: lacks the socket's name".into()).into());
            }
            return Ok(Address::Unix(if name.contains('/') { name.into() } else { format!("{PREFIX}{name}").into() }));
        }
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(port)) if port > 0 => Ok(Address::Tcp(text.into())),
            _ => Err(Usage(format!("--ipi {text}: give HOST:PORT, unix:NAME or unix:/PATH")).into()),
        }
    }

    /// Connects, and tries again until the server is there.
    ///
    /// # Errors
    /// No server within `wait`.
    pub fn connect(&self, wait: Duration) -> Result<Stream> {
        let begin = Instant::now();
        loop {
            let error = match self.once() {
                Ok(stream) => return Ok(stream),
                Err(e) => e,
            };
            let later = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
            if !later || begin.elapsed() + AGAIN > wait {
                return Err(error).with_context(|| {
                    format!("no i-PI server at {self} after {:.0} s (--wait)", begin.elapsed().as_secs_f64())
                });
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn once(&self) -> io::Result<Stream> {
        match self {
            Address::Tcp(a) => {
                let stream = TcpStream::connect(a.as_str())?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Address::Unix(p) => Ok(Stream::Unix(UnixStream::connect(p)?)),
        }
    }
}

/// A connection of either kind.
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// UNIX.
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.read(to),
            Stream::Unix(s) => s.read(to),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.write(from),
            Stream::Unix(s) => s.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.flush(),
            Stream::Unix(s) => s.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_nonsense_is_refused() {
        assert_eq!(Address::parse("localhost:31415").unwrap(), Address::Tcp("localhost:31415".into()));
        assert_eq!(Address::parse("[::1]:31415").unwrap(), Address::Tcp("[::1]:31415".into()));
        assert_eq!(Address::parse("unix:water").unwrap(), Address::Unix("/tmp/ipi_water".into()));
        assert_eq!(Address::parse("unix:/run/s").unwrap(), Address::Unix("/run/s".into()));
        for wrong in ["", "localhost", ":31415", "localhost:", "localhost:0", "localhost:70000", "unix:"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
