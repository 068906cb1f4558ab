//! The text of `GET /metrics`, by the crate `prometheus-client`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::counters::Distribution;

/// The labels of one line: names and values.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// Returns labels.
pub(crate) fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Labels {
    pairs.map(|(name, value)| (name, value.to_owned())).into()
}

/// The kind and the values of a metric.
pub(crate) enum Metric {
    /// Numbers that only grow. Their names end in `_total`, which is added.
    Counters(Vec<(Labels, u64)>),
    /// A number with a fraction that only grows.
    Seconds(f64),
    /// Numbers that go up and down.
    Gauges(Vec<(Labels, f64)>),
    /// Durations.
    Histograms(Vec<(Labels, Distribution)>),
    /// The labels alone. Its name ends in `_info`, which is added.
    Info(Labels),
}

impl Metric {
    /// A counter for each value of the label `label`.
    pub(crate) fn by(label: &'static str, values: impl Iterator<Item = (&'static str, u64)>) -> Self {
        Self::Counters(values.map(|(name, value)| (labels([(label, name)]), value)).collect())
    }

    /// A counter without labels.
    pub(crate) fn counter(value: u64) -> Self {
        Self::Counters(vec![(Labels::new(), value)])
    }

    /// A gauge without labels.
    pub(crate) fn gauge(value: f64) -> Self {
        Self::Gauges(vec![(Labels::new(), value)])
    }
}

/// Metrics that are read anew at each request. `read` returns the name, the meaning and the values of each.
pub(crate) struct Page {
    registry: Registry,
}

impl Page {
    /// The media type of the text.
    pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

    /// Returns a page of what `read` returns.
    pub(crate) fn new(
        read: impl Fn() -> Vec<(&'static str, &'static str, Metric)> + Send + Sync + 'static,
    ) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Collected(read)));
        Self { registry }
    }

    /// Returns the text, in Prometheus' format 0.0.4.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry).expect("a String takes all that is written");
        text
    }
}

struct Collected<F>(F);

impl<F> fmt::Debug for Collected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collected").finish_non_exhaustive()
    }
}

impl<F> Collector for Collected<F>
where
    F: Fn() -> Vec<(&'static str, &'static str, Metric)> + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, metric) in (self.0)() {
            write(&mut encoder, name, help, &metric)?;
        }
        Ok(())
    }
}

#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method is for one lifetime, `each` for all"
)]
fn write(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, metric: &Metric) -> fmt::Result {
    let kind = match metric {
        Metric::Counters(_) | Metric::Seconds(_) => MetricType::Counter,
        Metric::Gauges(_) => MetricType::Gauge,
        Metric::Histograms(_) => MetricType::Histogram,
        Metric::Info(_) => MetricType::Info,
    };
    let mut to = encoder.encode_descriptor(name, help, None, kind)?;
    match metric {
        Metric::Counters(values) => {
            each(&mut to, values, |to, value| to.encode_counter::<NoLabelSet, _, u64>(value, None))
        }
        Metric::Seconds(value) => to.encode_counter::<NoLabelSet, _, f64>(value, None),
        Metric::Gauges(values) => each(&mut to, values, |to, value| to.encode_gauge(value)),
        Metric::Histograms(values) => each(&mut to, values, |to, value| {
            to.encode_histogram::<NoLabelSet>(value.sum(), value.count(), &value.buckets(), None)
        }),
        Metric::Info(labels) => to.encode_info(labels),
    }
}

fn each<T>(
    to: &mut MetricEncoder<'_>,
    values: &[(Labels, T)],
    mut write: impl FnMut(&mut MetricEncoder<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    values.iter().try_for_each(|(labels, value)| write(&mut to.encode_family(labels)?, value))
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}
