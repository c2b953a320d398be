//! How one metric is written.

use std::borrow::Borrow;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use ullim_broker::Histogram;
use ullim_broker::histogram::BOUNDS;

pub(super) fn gauge<N: EncodeGaugeValue>(to: &mut DescriptorEncoder, name: &str, help: &str, value: N) -> fmt::Result {
    to.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

pub(super) fn counter(to: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(to.encode_descriptor(name, help, None, MetricType::Counter)?)
}

/// One counter for each value of `label`.
pub(super) fn counters(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (impl fmt::Display, impl Borrow<u64>)>,
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in values {
        let labels = [(label, value.to_string())];
        ConstCounter::new(*count.borrow()).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// A histogram of durations in seconds.
pub(super) fn histogram(to: &mut DescriptorEncoder, name: &str, help: &str, value: &Histogram) -> fmt::Result {
    let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(value.buckets).collect();
    let mut encoder = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
    encoder.encode_histogram::<NoLabelSet>(value.sum, value.count(), &buckets, None)
}

/// A gauge that is left out where there is no value.
pub(super) fn known<N: EncodeGaugeValue>(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: Option<N>,
) -> fmt::Result {
    value.map_or(Ok(()), |value| gauge(to, name, help, value))
}
