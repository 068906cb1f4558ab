//! A client that keeps one core busy: many connections in one thread, each with one request under way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::thread::{CpuSet, sched_setaffinity};

/// What a phase of load has measured.
pub struct Load {
    pub per_second: f64,
    /// The server's time on the processor for each request, in microseconds.
    pub cpu_micros: f64,
    /// The times to the answer, in nanoseconds, sorted.
    pub latencies: Vec<u32>,
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

/// The time that a process has spent on the processor.
fn cpu(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

struct Client {
    stream: TcpStream,
    began: Instant,
    answer: Vec<u8>,
}

/// Sends `requests` in turn over `connections` for as long as `time`; each connection sends its next request when it has
/// the answer, or, with a `rate`, as many as that in a second, each timed from when it was due. Every answer must have the
/// status.
pub fn load(
    (address, process): (&str, u32),
    requests: &[Vec<u8>],
    status: u16,
    connections: usize,
    time: Duration,
    rate: Option<f64>,
) -> Load {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut clients: Vec<Client> = (0..connections)
        .map(|number| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&poll, &stream, data, epoll::EventFlags::IN).unwrap();
            Client { stream, began: Instant::now(), answer: Vec::with_capacity(4_096) }
        })
        .collect();
    let expected = format!("HTTP/1.1 {status}");
    let (mut next, mut latencies, mut usual) = (0, Vec::with_capacity(1 << 20), 0);
    let mut send = |client: &mut Client, due: Instant| {
        client.began = due;
        client.answer.clear();
        client.stream.write_all(&requests[next % requests.len()]).unwrap();
        next += 1;
    };
    let (began, cpu_before) = (Instant::now(), cpu(process));
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
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let long = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        events.clear();
        let timeout = if rate.is_some() { none } else { long };
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)).unwrap();
        for event in &events {
            let number = event.data.u64() as usize;
            let client = &mut clients[number];
            let length = client.stream.read(&mut chunk).unwrap();
            assert_ne!(length, 0, "the server hung up");
            client.answer.extend_from_slice(&chunk[..length]);
            if client.answer.len() == usual || is_whole(&client.answer) {
                usual = client.answer.len();
                assert!(
                    client.answer.starts_with(expected.as_bytes()),
                    "{}",
                    String::from_utf8_lossy(&client.answer)
                );
                latencies.push(u32::try_from(client.began.elapsed().as_nanos()).unwrap_or(u32::MAX));
                idle.push(number);
            }
        }
    }
    let (passed, spent) = (began.elapsed(), cpu(process) - cpu_before);
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
