//! A mail server for tests (RFC 5321): it takes mails, or refuses, hangs and drops connections as a test says.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the server does with the next mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes it.
    Take,
    /// Answers so to the recipient.
    Answer(&'static str),
    /// Reads the mail, and closes the connection in place of an answer.
    Drop,
    /// Never answers to the recipient.
    Hang,
}

#[derive(Default)]
struct Shared {
    mails: Mutex<Vec<String>>,
    next: Mutex<VecDeque<Behaviour>>,
}

/// The server. It takes every mail beyond those that it was told about.
pub struct Sink {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                // A client that goes away ends its conversation.
                std::thread::spawn(move || talk(stream, &shared));
            }
        });
        Self { port, shared }
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub fn next(&self, behaviours: &[Behaviour]) {
        self.shared.next.lock().unwrap().extend(behaviours);
    }

    /// The mails that were read, dropped ones too.
    pub fn mails(&self) -> Vec<String> {
        self.shared.mails.lock().unwrap().clone()
    }
}

fn talk(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let say = |line: &str| (&stream).write_all(format!("{line}\r\n").as_bytes());
    say("220 sink")?;
    let mut behaviour = Behaviour::Take;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match line.split([' ', ':', '\r']).next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => say("250-sink\r\n250 8BITMIME")?,
            "MAIL" => {
                behaviour = shared.next.lock().unwrap().pop_front().unwrap_or(Behaviour::Take);
                say("250 ok")?;
            }
            "RCPT" => match behaviour {
                Behaviour::Answer(answer) => say(answer)?,
                Behaviour::Hang => {
                    // Until the client gives up.
                    let _ = reader.read_line(&mut line);
                    return Ok(());
                }
                _ => say("250 ok")?,
            },
            "DATA" => {
                say("354 go on")?;
                let mut mail = String::new();
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    if line == ".\r\n" {
                        break;
                    }
                    mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                }
                shared.mails.lock().unwrap().push(mail);
                if behaviour == Behaviour::Drop {
                    return Ok(());
                }
                say("250 taken as 4711")?;
            }
            "QUIT" => {
                say("221 bye")?;
                return Ok(());
            }
            _ => say("250 ok")?,
        }
    }
}
