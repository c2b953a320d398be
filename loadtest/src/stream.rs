//! A connection's bytes: TCP, or TLS on it. Neither ever waits.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// How many connections come from one address. Its ports are not used up by far: where they are half used up, the system
/// needs long to find a free one.
const FROM_EACH: usize = 4_000;

/// The buffer of who is to be noticed soon, and the most bytes of a segment to it.
const NARROW_BYTES: usize = 4096;
const NARROW_SEGMENT: u32 = 536;

/// A client's end of a connection.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted.
    Tls(TcpStream, Box<ClientConnection>),
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Where to.
    pub address: SocketAddr,
    /// Where the first few thousand come from, if the server is on loopback.
    pub source: Ipv4Addr,
    /// None without TLS.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Connector {
    /// Begins the connection with this number.
    /// `narrow`: with as little room on the way as there can be, so that who does not read is noticed soon.
    pub fn connect(&self, number: usize, narrow: bool) -> io::Result<Stream> {
        let tcp = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {
                let further = u32::try_from(number / FROM_EACH).unwrap_or(0);
                connect_from(Ipv4Addr::from_bits(self.source.to_bits() + further), self.address, narrow)?
            }
            _ => TcpStream::connect(self.address)?,
        };
        Ok(match &self.tls {
            None => Stream::Plain(tcp),
            Some((config, name)) => {
                let session = ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
                Stream::Tls(tcp, Box::new(session))
            }
        })
    }
}

fn connect_from(source: Ipv4Addr, address: SocketAddr, narrow: bool) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if narrow {
        socket.set_recv_buffer_size(NARROW_BYTES)?;
        // The server's own buffer grows with the size of segments.
        socket.set_tcp_mss(NARROW_SEGMENT)?;
    }
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        connected => connected?,
    }
    Ok(TcpStream::from_std(socket.into()))
}

impl Stream {
    /// The socket.
    pub fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) | Self::Tls(tcp, _) => tcp,
        }
    }

    /// Reads what is there: `None` if nothing is, 0 at the end.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(tcp) => not_now(tcp.read(into)),
            Self::Tls(tcp, session) => loop {
                match not_now(session.reader().read(into))? {
                    Some(read) => return Ok(Some(read)),
                    None => match not_now(session.read_tls(tcp))? {
                        None => return Ok(None),
                        Some(0) => return Ok(Some(0)),
                        Some(_) => {
                            session.process_new_packets().map_err(io::Error::other)?;
                            flush(tcp, session)?;
                        }
                    },
                }
            },
        }
    }

    /// Whether a read that was not filled may have left something behind.
    pub fn may_hold_more(&self) -> bool {
        matches!(self, Self::Tls(..))
    }

    /// Writes what the peer takes at once; how much of `bytes` that was.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => Ok(not_now(tcp.write(bytes))?.unwrap_or(0)),
            Self::Tls(tcp, session) => {
                let taken = not_now(session.writer().write(bytes))?.unwrap_or(0);
                flush(tcp, session)?;
                Ok(taken)
            }
        }
    }

    /// Sends what is held back.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tcp, session) => flush(tcp, session),
        }
    }

    /// The connection is reset when it is dropped: the server learns at once, and no port is kept.
    pub fn cut(&mut self) {
        // Where this fails the connection is gone already.
        let _ = SockRef::from(&*self.tcp()).set_linger(Some(std::time::Duration::ZERO));
    }
}

fn flush(tcp: &mut TcpStream, session: &mut ClientConnection) -> io::Result<()> {
    while session.wants_write() {
        if not_now(session.write_tls(tcp))?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Distinguishes "not now" from an error.
pub fn not_now(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => Ok(None),
        Err(error) => Err(error),
    }
}
