//! A connection of a client, and the times that bound it: how long a request may take from its first byte to its answer,
//! how long a client may leave an answer unread, and how long it may wait before its next request. actix bounds only
//! the last, with a timer for each request.
//!
//! A request costs no timer. Each worker looks at its connections twice a second, and ends those that are over time.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::gate::Place;

/// The time between two looks.
const TICK: Duration = Duration::from_millis(500);

/// The connections of one worker.
#[derive(Debug)]
pub(super) struct Watch {
    /// The number of looks so far.
    now: Cell<u64>,
    /// A request must be answered within this many looks.
    request: u64,
    /// An answer must be read on within this many looks, and the next request must begin.
    idle: u64,
    all: RefCell<Vec<Weak<Times>>>,
}

/// The times of a connection, as numbers of looks.
#[derive(Debug, Default)]
struct Times {
    /// When the first byte came of a request that is not answered yet.
    request: Cell<Option<u64>>,
    /// Since when the client has left an answer unread.
    answer: Cell<Option<u64>>,
    /// When the last answer was written, if no byte has come since.
    idle: Cell<Option<u64>>,
    over: Cell<Over>,
    waker: RefCell<Option<Waker>>,
}

/// Whether a connection has to end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Over {
    #[default]
    No,
    /// The client has not sent its next request in time. One that comes at the last moment is answered.
    Idle,
    /// A request or an answer takes too long.
    Late,
}

/// The bytes of a connection.
pub(super) enum Stream {
    /// In plaintext.
    Plain(TcpStream),
    /// By TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection, which counts until it is dropped.
pub(super) struct Connection {
    stream: Stream,
    times: Rc<Times>,
    watch: Rc<Watch>,
    _place: Place,
}

impl Watch {
    /// Starts to watch the connections of this worker.
    pub(super) fn start(request: Duration, idle: Duration) -> Rc<Self> {
        let watch = Rc::new(Self {
            now: Cell::new(0),
            request: looks(request),
            idle: looks(idle),
            all: RefCell::default(),
        });
        let weak = Rc::downgrade(&watch);
        actix_rt::spawn(async move {
            let mut ticks = actix_rt::time::interval(TICK);
            loop {
                ticks.tick().await;
                match weak.upgrade() {
                    Some(watch) => watch.look(),
                    None => break,
                }
            }
        });
        watch
    }

    /// Ends the connections that are over time.
    fn look(&self) {
        let now = self.now.get() + 1;
        self.now.set(now);
        let is_late = |since: &Cell<Option<u64>>, most| since.get().is_some_and(|since| now - since > most);
        self.all.borrow_mut().retain(|times| {
            let Some(times) = times.upgrade() else { return false };
            if is_late(&times.request, self.request) || is_late(&times.answer, self.idle) {
                times.over.set(Over::Late);
            } else if is_late(&times.idle, self.idle) {
                times.over.set(Over::Idle);
            } else {
                return true;
            }
            if let Some(waker) = times.waker.take() {
                waker.wake();
            }
            times.over.get() == Over::Idle
        });
    }
}

/// Returns the number of looks in a time, rounded up.
fn looks(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX)
}

impl Connection {
    pub(super) fn new(stream: Stream, watch: &Rc<Watch>, place: Place) -> Self {
        let times = Rc::new(Times::default());
        watch.all.borrow_mut().push(Rc::downgrade(&times));
        Self { stream, times, watch: Rc::clone(watch), _place: place }
    }

    /// Fails if the connection is over time; otherwise sees to it that it is woken when it is.
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        if self.times.over.get() == Over::Late {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut waker = self.times.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Ok(())
    }

    /// Notes the outcome of writing.
    fn note_written<T>(&self, written: &Poll<io::Result<T>>) {
        match written {
            Poll::Ready(_) => {
                self.times.request.set(None);
                self.times.answer.set(None);
                self.times.idle.set(Some(self.watch.now.get()));
            }
            Poll::Pending => {
                self.times.idle.set(None);
                if self.times.answer.get().is_none() {
                    self.times.answer.set(Some(self.watch.now.get()));
                }
            }
        }
    }
}

/// Calls a method of the stream, whichever it is.
macro_rules! stream {
    ($connection:expr, $method:ident($($argument:expr),*)) => {
        match &mut $connection.stream {
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        let read = stream!(self, poll_read(cx, buf));
        if buf.filled().len() > before {
            self.times.idle.set(None);
            self.times.over.set(Over::No);
            if self.times.request.get().is_none() {
                self.times.request.set(Some(self.watch.now.get()));
            }
        } else if read.is_pending() && self.times.over.get() == Over::Idle {
            // As if the client had ended the connection.
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let written = stream!(self, poll_write(cx, bytes));
        self.note_written(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let written = stream!(self, poll_write_vectored(cx, slices));
        self.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_whole_number_of_looks_and_never_shorter() {
        assert_eq!(looks(Duration::from_secs(60)), 120);
        assert_eq!(looks(Duration::from_millis(501)), 2);
    }
}
