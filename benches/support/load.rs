//! A client that keeps one core busy: many connections in one thread, each with one request under way.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// What a phase of load has measured.
pub struct Load {
    pub per_second: f64,
    /// The server's time on the processor for each request, in microseconds.
    pub cpu_micros: f64,
    /// The times to the answer, in nanoseconds, sorted.
    latencies: Vec<u32>,
}

impl Load {
    /// The latency of the given part of the requests, in milliseconds.
    pub fn quantile(&self, part: f64) -> f64 {
        let at = ((self.latencies.len() - 1) as f64 * part) as usize;
        f64::from(self.latencies[at]) / 1e6
    }
}

/// Keeps this thread, and the processes that it starts, on one core: 0 is for servers, 1 for the client.
pub fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).unwrap();
}

/// The time that the threads of a process have spent on the processor (proc(5), `schedstat`).
fn cpu(process: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_task = |task: io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(of_task).sum())
}

/// A server: its address, its process, and what its certificate is checked with, if it has one.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub address: &'a str,
    pub process: u32,
    pub tls: Option<&'a Arc<ClientConfig>>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn open(target: Target<'_>) -> Self {
        let stream = TcpStream::connect(target.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let Some(tls) = target.tls else {
            stream.set_nonblocking(true).unwrap();
            return Self::Plain(stream);
        };
        let session = ClientConnection::new(Arc::clone(tls), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream.sock.set_nonblocking(true).unwrap();
        Self::Tls(Box::new(stream))
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn send(&mut self, request: &[u8]) {
        match self {
            Self::Plain(stream) => stream.write_all(request).unwrap(),
            Self::Tls(stream) => {
                stream.write_all(request).unwrap();
                stream.flush().unwrap();
            }
        }
    }

    /// Reads what has come, which may be nothing that belongs to an answer, such as a session ticket of TLS.
    fn receive(&mut self, chunk: &mut [u8]) -> usize {
        let read = match self {
            Self::Plain(stream) => stream.read(chunk),
            Self::Tls(stream) => stream.read(chunk),
        };
        match read {
            Ok(0) => panic!("the server hung up"),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    }
}

struct Client {
    stream: Stream,
    began: Instant,
    answer: Vec<u8>,
}

/// Sends `requests` in turn over `connections` for as long as `time`; each connection sends its next request when it has
/// the answer, or, with a `rate`, as many as that in a second, each timed from when it was due. Every answer must have
/// one of the statuses.
pub fn load(
    target: Target<'_>,
    requests: &[Vec<u8>],
    statuses: &[u16],
    connections: usize,
    time: Duration,
    rate: Option<f64>,
) -> Load {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut clients: Vec<Client> = (0..connections)
        .map(|number| {
            let stream = Stream::open(target);
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&poll, stream.socket(), data, epoll::EventFlags::IN).unwrap();
            Client { stream, began: Instant::now(), answer: Vec::with_capacity(4_096) }
        })
        .collect();
    let expected: Vec<String> = statuses.iter().map(|status| format!("HTTP/1.1 {status}")).collect();
    let (mut next, mut latencies, mut usual) = (0, Vec::with_capacity(1 << 20), 0);
    let mut send = |client: &mut Client, due: Instant| {
        client.began = due;
        client.answer.clear();
        client.stream.send(&requests[next % requests.len()]);
        next += 1;
    };
    let (began, cpu_before) = (Instant::now(), cpu(target.process));
    let mut idle: Vec<usize> = (0..connections).collect();
    let mut due = 0_u32;
    let mut events = Vec::with_capacity(connections);
    let mut chunk = [0; 16_384];
    loop {
        let now = Instant::now();
        if now - began >= time {
            break;
        }
        match rate {
            None => idle.drain(..).for_each(|number| send(&mut clients[number], now)),
            Some(rate) => loop {
                let at = began + Duration::from_secs_f64(f64::from(due) / rate);
                if at > now {
                    break;
                }
                let Some(number) = idle.pop() else { break };
                send(&mut clients[number], at);
                due += 1;
            },
        }
        // With a rate it looks again and again, since no timer is exact enough.
        let timeout = Timespec { tv_sec: i64::from(rate.is_none()), tv_nsec: 0 };
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)).unwrap();
        for event in &events {
            let number = event.data.u64() as usize;
            let client = &mut clients[number];
            let length = client.stream.receive(&mut chunk);
            client.answer.extend_from_slice(&chunk[..length]);
            if length > 0 && (client.answer.len() == usual || is_whole(&client.answer)) {
                usual = client.answer.len();
                assert!(
                    expected.iter().any(|status| client.answer.starts_with(status.as_bytes())),
                    "{}",
                    String::from_utf8_lossy(&client.answer)
                );
                latencies.push(u32::try_from(client.began.elapsed().as_nanos()).unwrap_or(u32::MAX));
                idle.push(number);
            }
        }
    }
    let (passed, spent) = (began.elapsed(), cpu(target.process) - cpu_before);
    let count = latencies.len() as f64;
    latencies.sort_unstable();
    Load {
        per_second: count / passed.as_secs_f64(),
        cpu_micros: spent.as_secs_f64() * 1e6 / count,
        latencies,
    }
}

/// Tells whether an answer has arrived to its end.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let name = b"content-length: ";
    let Some(at) = answer[..head].windows(name.len()).position(|window| window == name) else { return true };
    let digits = answer[at + name.len()..head].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    answer.len() >= head + 4 + length
}
