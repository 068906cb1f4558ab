//! A mail server for tests (RFC 5321), with TLS (RFC 3207, RFC 8314) or without: it takes mails, or answers, hangs and
//! drops connections as a test says.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the server does on a connection, which is for one mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes the mail.
    Take,
    /// Answers so.
    Answer(Stage, &'static str),
    /// Closes the connection in place of an answer.
    Drop(Stage),
    /// Never answers.
    Hang(Stage),
    /// Answers when the test says so.
    Wait(Stage),
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The connection itself.
    Greeting,
    StartTls,
    Password,
    Sender,
    Recipient,
    /// The mail, after its last byte.
    Mail,
    Quit,
}

/// The encryption that the server offers.
#[derive(Clone)]
pub enum Offered {
    Nothing,
    StartTls(Arc<ServerConfig>),
    Implicit(Arc<ServerConfig>),
}

#[derive(Default)]
struct Shared {
    mails: Mutex<Vec<String>>,
    in_clear: Mutex<Vec<String>>,
    next: Mutex<VecDeque<Behaviour>>,
    is_down: AtomicBool,
    connections: AtomicUsize,
    is_released: Mutex<bool>,
    released: Condvar,
}

/// The server. It takes every mail beyond those that it was told about.
pub struct Sink {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Sink {
    pub fn start() -> Self {
        Self::with(Offered::Nothing)
    }

    pub fn with(offered: Offered) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, offered) = (Arc::clone(&own), offered.clone());
                shared.connections.fetch_add(1, Ordering::SeqCst);
                if shared.is_down.load(Ordering::SeqCst) {
                    continue;
                }
                let behaviour = shared.next.lock().unwrap().pop_front().unwrap_or(Behaviour::Take);
                // A client that goes away ends its conversation.
                std::thread::spawn(move || Conversation::new(stream, offered, behaviour, &shared).talk());
            }
        });
        Self { port, shared }
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Tells what to do on the next connections.
    pub fn next(&self, behaviours: &[Behaviour]) {
        self.shared.next.lock().unwrap().extend(behaviours);
    }

    /// Closes every connection at once, or no longer.
    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Answers on the connections that wait, and on all later ones.
    pub fn release(&self) {
        *self.shared.is_released.lock().unwrap() = true;
        self.shared.released.notify_all();
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The mails that were read, dropped ones too.
    pub fn mails(&self) -> Vec<String> {
        self.shared.mails.lock().unwrap().clone()
    }

    /// The lines that were read without encryption.
    pub fn in_clear(&self) -> Vec<String> {
        self.shared.in_clear.lock().unwrap().clone()
    }
}

enum Stream {
    Clear(TcpStream),
    Secure(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(bytes),
            Self::Secure(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

fn secured(stream: TcpStream, config: &Arc<ServerConfig>) -> Stream {
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    Stream::Secure(Box::new(StreamOwned::new(connection, stream)))
}

struct Conversation<'a> {
    stream: BufReader<Stream>,
    /// Where STARTTLS is offered.
    starttls: Option<Arc<ServerConfig>>,
    behaviour: Behaviour,
    shared: &'a Shared,
}

impl<'a> Conversation<'a> {
    fn new(stream: TcpStream, offered: Offered, behaviour: Behaviour, shared: &'a Shared) -> Self {
        let (stream, starttls) = match offered {
            Offered::Nothing => (Stream::Clear(stream), None),
            Offered::StartTls(config) => (Stream::Clear(stream), Some(config)),
            Offered::Implicit(config) => (secured(stream, &config), None),
        };
        Self { stream: BufReader::new(stream), starttls, behaviour, shared }
    }

    fn talk(mut self) -> Result<()> {
        self.answer(Stage::Greeting, "220 sink")?;
        while let Some(line) = self.line()? {
            let command = line.split([' ', ':', '\r']).next().unwrap_or_default().to_ascii_uppercase();
            match &*command {
                "EHLO" if self.starttls.is_some() => self.say("250-sink\r\n250 STARTTLS")?,
                "EHLO" => self.say("250-sink\r\n250 AUTH PLAIN")?,
                "STARTTLS" => {
                    self.answer(Stage::StartTls, "220 go on")?;
                    let (Some(config), Stream::Clear(stream)) =
                        (self.starttls.take(), self.stream.into_inner())
                    else {
                        return Ok(());
                    };
                    self.stream = BufReader::new(secured(stream, &config));
                }
                "AUTH" => self.answer(Stage::Password, "235 welcome")?,
                "MAIL" => self.answer(Stage::Sender, "250 ok")?,
                "RCPT" => self.answer(Stage::Recipient, "250 ok")?,
                "DATA" => {
                    self.say("354 go on")?;
                    let mut mail = String::new();
                    loop {
                        let Some(line) = self.line()? else { return Ok(()) };
                        if line == ".\r\n" {
                            break;
                        }
                        mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                    }
                    self.shared.mails.lock().unwrap().push(mail);
                    self.answer(Stage::Mail, "250 taken as 4711")?;
                }
                "QUIT" => return self.answer(Stage::Quit, "221 bye"),
                _ => self.say("250 ok")?,
            }
        }
        Ok(())
    }

    /// Reads a line; `None` at the end.
    fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line)?;
        if let Stream::Clear(_) = self.stream.get_ref() {
            self.shared.in_clear.lock().unwrap().extend((read > 0).then(|| line.trim_end().to_owned()));
        }
        Ok((read > 0).then_some(line))
    }

    fn answer(&mut self, stage: Stage, usual: &str) -> Result<()> {
        match self.behaviour {
            Behaviour::Answer(at, answer) if at == stage => self.say(answer),
            Behaviour::Drop(at) if at == stage => Err(std::io::ErrorKind::ConnectionAborted.into()),
            Behaviour::Hang(at) if at == stage => {
                // Until the client gives up.
                std::io::copy(&mut self.stream, &mut std::io::sink())?;
                Err(std::io::ErrorKind::ConnectionAborted.into())
            }
            Behaviour::Wait(at) if at == stage => {
                let is_released = self.shared.is_released.lock().unwrap();
                drop(self.shared.released.wait_while(is_released, |is_released| !*is_released).unwrap());
                self.say(usual)
            }
            _ => self.say(usual),
        }
    }

    fn say(&mut self, answer: &str) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
        stream.flush()
    }
}

/// A certification authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server of `host` with a certificate of this authority.
    pub fn server(&self, host: &str) -> Arc<ServerConfig> {
        self.server_until(host, 4096)
    }

    /// A server whose certificate expires in the year `until`.
    pub fn server_until(&self, host: &str, until: i32) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            );
        Arc::new(config.unwrap())
    }
}
