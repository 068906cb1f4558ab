//! Signals: one thread handles them, for as long as the process runs.

use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// The action that the next signal causes.
enum Action {
    /// Exit at once, as without a handler.
    Exit,
    /// A prompt is on the terminal: restore these modes, then exit.
    RestoreAndExit(std::fs::File, Box<Termios>),
    /// A server runs: stop it, which finishes the requests in flight. The signal after this one exits at once.
    Stop(oneshot::Sender<()>),
}

/// Where a hangup goes while a server runs.
static HANGUPS: Mutex<Option<UnboundedSender<()>>> = Mutex::new(None);

static ACTION: Mutex<Action> = Mutex::new(Action::Exit);

/// Sets the action for the next signal, and returns the one before.
fn replace(action: Action) -> Action {
    std::mem::replace(&mut *ACTION.lock().unwrap_or_else(PoisonError::into_inner), action)
}

/// Starts the thread that handles signals.
pub(super) fn watch() {
    let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]) else {
        return;
    };
    let had_terminal = has_terminal();
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            // A terminal that is closed sends it too, and ends what it has started.
            let is_closed = had_terminal && !has_terminal();
            if signal == SIGHUP && !is_closed && told_of_hangup() {
                continue;
            }
            match replace(Action::Exit) {
                Action::Stop(stop) => {
                    let _ = stop.send(());
                    continue;
                }
                Action::RestoreAndExit(terminal, modes) => {
                    let _ = tcsetattr(&terminal, OptionalActions::Flush, &modes);
                    // Shows the cursor, which some prompts hide, and begins a line for the shell.
                    let _ = std::io::Write::write_all(&mut &terminal, b"\x1b[?25h\r\n");
                }
                Action::Exit => {}
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "the main thread waits at a prompt and cannot be made to return"
            )]
            std::process::exit(128 + signal);
        }
    });
}

/// Makes a signal restore the terminal's present modes before it ends the process, until this is dropped.
pub(super) struct RestoreOnSignal;

impl RestoreOnSignal {
    pub(super) fn begin(terminal: &std::fs::File) -> std::io::Result<Self> {
        let modes = rustix::termios::tcgetattr(terminal)?;
        replace(Action::RestoreAndExit(terminal.try_clone()?, Box::new(modes)));
        Ok(Self)
    }
}

impl Drop for RestoreOnSignal {
    fn drop(&mut self) {
        replace(Action::Exit);
    }
}

/// Returns a future that the next signal completes. Until this call, a signal ends the process.
pub(super) fn stop() -> impl Future<Output = ()> {
    let (sender, received) = oneshot::channel();
    replace(Action::Stop(sender));
    async {
        let _ = received.await;
    }
}

/// Returns a channel that gets a message at each SIGHUP. Until this call, SIGHUP is a signal as others are.
pub(super) fn hangups() -> UnboundedReceiver<()> {
    let (sender, receiver) = unbounded_channel();
    *HANGUPS.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    receiver
}

fn told_of_hangup() -> bool {
    let hangups = HANGUPS.lock().unwrap_or_else(PoisonError::into_inner);
    hangups.as_ref().is_some_and(|hangups| hangups.send(()).is_ok())
}

/// Tells whether the process has a terminal that controls it.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}
