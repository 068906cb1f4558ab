//! Metrics, for `GET /metrics`. Each part of the server owns its own counters, made of these types; the route
//! reads them all.
//!
//! | file | what it owns |
//! |---|---|
//! | `counters` | counters and histograms that many threads write without waiting for each other |
//! | `connections` | open connections, and those that were turned away |
//! | `requests` | requests by route, method and status |
//! | `process` | what the kernel knows of this process |
//! | `page` | the text, by the crate `prometheus-client` |
//!
//! No label is a text of a client: each has a fixed list of values, or is the pattern of a route.

mod connections;
mod counters;
mod page;
mod process;
mod requests;

pub(crate) use connections::Connections;
pub(crate) use counters::{Counter, Counters, Histogram};
pub(crate) use page::{Metric, Page, labels};
pub(crate) use process::Process;
pub(crate) use requests::{Requests, RouteCounts};
