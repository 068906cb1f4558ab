//! The takeover: a running server hands its sockets and its unsealed key to the process that replaces it, over a Unix
//! socket that belongs to the same user. It goes on serving until the other one does.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg, sockopt::socket_peercred,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::sockets::Sockets;
use crate::server::keys::vault::Vault;

/// The version of what is sent. A process that knows another version is refused.
const VERSION: u8 = 1;

/// What is sent begins with the version, which sockets follow, and the installation's id.
const HEAD: usize = 2 + 16;

/// Each installation key follows, after its generation.
const KEY: usize = 4 + 32;

/// The most installation keys: there is more than one only while what is sealed is sealed anew.
const MAX_KEYS: usize = 16;

/// The longest time in which the new process must serve: it may have to migrate the database.
const START: Duration = Duration::from_secs(120);

/// The answer of the new process once it serves.
const SERVING: &[u8; 8] = b"serving\n";

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// No server answers.
    #[error("no server can be taken over at {}: {cause}; start without --takeover", path.display())]
    NobodyThere {
        /// `server.control_socket`.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// The other process is no server that we understand.
    #[error("the server at {} hands over in a way that this version does not know; stop it, and start without --takeover", .0.display())]
    OtherVersion(PathBuf),
    /// The control socket cannot be opened.
    #[error("server.control_socket {} cannot be opened: {cause}", path.display())]
    Control {
        /// `server.control_socket`.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
}

/// The parts that were taken over. The old process serves until [`Taken::serving`].
#[derive(Debug)]
pub struct Taken {
    /// The sockets.
    pub sockets: Sockets,
    /// The vault, unsealed.
    pub vault: Vault,
    old: UnixStream,
}

impl Taken {
    /// Takes the server over that listens at `path`.
    ///
    /// # Errors
    /// [`HandoverError`].
    pub fn from(path: &Path) -> Result<Self, HandoverError> {
        let nobody = |cause| HandoverError::NobodyThere { path: path.to_owned(), cause };
        let old = UnixStream::connect(path).map_err(nobody)?;
        check_peer(&old).map_err(nobody)?;
        let mut bytes = Zeroizing::new([0; HEAD + MAX_KEYS * KEY]);
        let (length, received) = receive(&old, &mut *bytes).map_err(nobody)?;
        let other = || HandoverError::OtherVersion(path.to_owned());
        let [VERSION, names, rest @ ..] = &bytes[..length] else { return Err(other()) };
        let mut received = received.into_iter().map(TcpListener::from);
        let mut next =
            |bit: u8| if names & bit == 0 { Ok(None) } else { received.next().map(Some).ok_or_else(other) };
        let sockets = Sockets { http: next(1)?, redirect: next(2)?, metrics: next(4)? };
        let (id, keys) = rest.split_first_chunk().ok_or_else(other)?;
        let keys = keys.chunks_exact(KEY).map(|part| {
            let (generation, key) = part.split_first_chunk()?;
            Some((u32::from_be_bytes(*generation), Zeroizing::new(*key.first_chunk()?)))
        });
        let vault = Vault::from_parts(Uuid::from_bytes(*id), keys.collect::<Option<_>>().ok_or_else(other)?);
        Ok(Self { sockets, vault: vault.ok_or_else(other)?, old })
    }

    /// Tells the old process that this one serves, so that it stops.
    ///
    /// # Errors
    /// The system's error, if the old one is gone.
    pub fn serving(mut self) -> io::Result<()> {
        self.old.write_all(SERVING)
    }
}

/// The parts that a server hands over.
#[derive(Debug)]
pub(super) struct Offer {
    pub http: OwnedFd,
    pub redirect: Option<OwnedFd>,
    pub metrics: Option<OwnedFd>,
    pub vault: Arc<Vault>,
}

/// An offer that can be withdrawn. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Offered(Arc<Mutex<Option<Offer>>>);

impl Offered {
    /// Withdraws it, and closes its sockets: a server that stops leaves nobody waiting to be accepted.
    pub(super) fn withdraw(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Offers what a server has at `path`, in a thread of its own. Calls `taken_over` once another process serves.
///
/// # Errors
/// [`HandoverError::Control`].
pub(super) fn offer(
    path: &Path,
    offer: Offer,
    taken_over: impl FnOnce() + Send + 'static,
) -> Result<Offered, HandoverError> {
    let failed = |cause| HandoverError::Control { path: path.to_owned(), cause };
    let listener = listen(path).map_err(failed)?;
    let offered = Offered(Arc::new(Mutex::new(Some(offer))));
    let ours = offered.clone();
    let serve = move || {
        for stream in listener.incoming() {
            match stream.and_then(|stream| hand_over(stream, &ours)) {
                Ok(()) => return taken_over(),
                Err(error) => log::warn!("the server was not taken over: {error}"),
            }
        }
    };
    std::thread::Builder::new().name("takeover".into()).spawn(serve).map_err(failed)?;
    Ok(offered)
}

/// Opens the control socket. It replaces what an earlier process has left there, in one step.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // In a folder that only we can enter, so that nobody connects before the mode is set.
    let private = tempfile::Builder::new().prefix(".hallpass-").tempdir_in(folder)?;
    let new = private.path().join("control");
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

/// Refuses a peer that is neither our user nor root.
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = socket_peercred(stream)?.uid;
    if peer == rustix::process::geteuid() || peer.is_root() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "the other process belongs to another user"))
}

/// Hands over, and returns once the other process serves.
fn hand_over(mut stream: UnixStream, offered: &Offered) -> io::Result<()> {
    check_peer(&stream)?;
    stream.set_read_timeout(Some(START))?;
    give(&stream, offered)?;
    let mut answer = [0; SERVING.len()];
    stream.read_exact(&mut answer)?;
    if &answer != SERVING {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(())
}

/// Sends what is offered.
fn give(stream: &UnixStream, offered: &Offered) -> io::Result<()> {
    let offered = offered.0.lock().unwrap_or_else(PoisonError::into_inner);
    let stopping = || io::Error::other("this one stops already");
    let offer = offered.as_ref().ok_or_else(stopping)?;
    let (id, keys) = offer.vault.parts();
    let open = [Some(&offer.http), offer.redirect.as_ref(), offer.metrics.as_ref()];
    let names = open.iter().enumerate().fold(0, |names, (place, fd)| names | u8::from(fd.is_some()) << place);
    // Allocated whole, because growing would leave a copy of the keys behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD + MAX_KEYS * KEY));
    bytes.extend([VERSION, names]);
    bytes.extend(id.as_bytes());
    for (generation, key) in keys.iter().rev().take(MAX_KEYS).rev() {
        bytes.extend(generation.to_be_bytes());
        bytes.extend(&**key);
    }
    let fds: Vec<_> = open.into_iter().flatten().map(AsFd::as_fd).collect();
    send(stream, &bytes, &fds)
}

fn send(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let has_room = ancillary.push(SendAncillaryMessage::ScmRights(fds));
    debug_assert!(has_room, "there is room for three descriptors");
    let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty())?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn receive(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let messages = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok((got.bytes, messages.flatten().collect()))
}
