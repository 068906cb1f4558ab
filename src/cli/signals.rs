//! The one place that hears signals: a thread that outlives every prompt and the server.

use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::oneshot;

/// What a signal means now.
enum Meaning {
    /// The process ends at once, as if nothing heard the signal.
    End,
    /// A prompt is on the terminal: it is put back as it was, then the process ends.
    EndPrompt(std::fs::File, Box<Termios>),
    /// A server runs: the first signal stops it, and what it is doing is finished; the next ends the process.
    Stop(oneshot::Sender<()>),
}

static MEANING: Mutex<Meaning> = Mutex::new(Meaning::End);

fn set(meaning: Meaning) {
    *MEANING.lock().unwrap_or_else(PoisonError::into_inner) = meaning;
}

/// Starts the thread. From here on a signal does what [`Meaning`] says.
pub(super) fn watch() {
    let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]) else {
        return;
    };
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let meaning =
                std::mem::replace(&mut *MEANING.lock().unwrap_or_else(PoisonError::into_inner), Meaning::End);
            match meaning {
                Meaning::Stop(stop) => {
                    let _ = stop.send(());
                    continue;
                }
                Meaning::EndPrompt(terminal, before) => {
                    let _ = tcsetattr(&terminal, OptionalActions::Flush, &before);
                    // The cursor, which some prompts hide, and a fresh line for the shell.
                    let _ = std::io::Write::write_all(&mut &terminal, b"\x1b[?25h\r\n");
                }
                Meaning::End => {}
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "the main thread waits at a prompt and cannot be made to return"
            )]
            std::process::exit(128 + signal);
        }
    });
}

/// While it lives, a signal puts `terminal` back as it is now before it ends the process.
pub(super) struct PromptOn;

impl PromptOn {
    pub(super) fn begin(terminal: &std::fs::File) -> std::io::Result<Self> {
        let before = rustix::termios::tcgetattr(terminal)?;
        set(Meaning::EndPrompt(terminal.try_clone()?, Box::new(before)));
        Ok(Self)
    }
}

impl Drop for PromptOn {
    fn drop(&mut self) {
        set(Meaning::End);
    }
}

/// From this call on the first signal ends the returned future instead of the process.
pub(super) fn stop() -> impl Future<Output = ()> {
    let (sender, asked) = oneshot::channel();
    set(Meaning::Stop(sender));
    async {
        let _ = asked.await;
    }
}
