//! What is measured: names, labels and counts, as a recorder and a subscriber see them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use levada::{Attempt, Event, Fault, Msg, Retry, Worker};
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tracing::span;

#[derive(serde::Serialize, serde::Deserialize)]
struct Bill(u32);

impl Event for Bill {
    const STREAM: &'static str = "telemetry-bills";
}

async fn pay(Attempt(attempt): Attempt, Msg(Bill(n)): Msg<Bill>) -> Result<(), Fault> {
    match (n, attempt) {
        (1, 1) => Err(Fault::after(Duration::ZERO, "not yet")),
        (2, _) => Err(Fault::permanent("never")),
        _ => Ok(()),
    }
}

/// Numbers by name and labels; of histograms, how often something was recorded.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

struct Count(Arc<AtomicU64>);

impl HistogramFn for Count {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorded {
    fn number(&self, key: &Key) -> Arc<AtomicU64> {
        let mut labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort_unstable();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Arc::clone(self.0.lock().expect("no panic").entry(name).or_default())
    }

    fn read(&self, name: &str) -> Option<u64> {
        let all = self.0.lock().expect("no panic");
        all.get(name).map(|number| number.load(Ordering::Relaxed))
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Count(self.number(key))))
    }
}

/// Names of spans, each as often as it was made.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<&'static str>>>);

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut all = self.0.lock().expect("no panic");
        all.push(attributes.metadata().name());
        span::Id::from_u64(all.len() as u64)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn what_happens_is_measured() {
    let (recorded, spans) = (Recorded::default(), Spans::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let work = async {
        let broker = levada::connect("memory:").await.expect("a broker");
        let producer = broker.producer();
        producer.send_all(&[Bill(0), Bill(1), Bill(2)]).await.expect("sent");
        let worker = || Worker::new(&broker, "till").handle(pay);
        let worker = || worker().retry(Retry::fixed(3, Duration::ZERO)).run_until_idle();
        let mut acked = 0;
        while acked < 2 {
            acked += worker().await.expect("it ends").acked;
        }
    };
    tracing::subscriber::with_default(spans.clone(), || {
        metrics::with_local_recorder(&recorded, || runtime.block_on(work));
    });
    let ended = |outcome| {
        let labels = format!("group=till outcome={outcome} stream={}", Bill::STREAM);
        recorded.read(&format!("levada_events_total {labels}"))
    };
    assert_eq!(
        [ended("acked"), ended("retried"), ended("dead"), ended("handed_back")],
        [Some(2), Some(1), Some(1), Some(0)]
    );
    let labels = format!("group=till stream={}", Bill::STREAM);
    assert_eq!(recorded.read(&format!("levada_handle_seconds {labels}")), Some(4));
    let held = recorded.read(&format!("levada_held_events {labels}")).expect("a gauge");
    assert_eq!(held, 0, "a gauge is kept as the bits of a number");
    let sent = format!("levada_sent_total outcome=sent stream={}", Bill::STREAM);
    assert_eq!(recorded.read(&sent), Some(3));
    let spans = spans.0.lock().expect("no panic");
    assert_eq!(spans.iter().filter(|name| **name == "levada.handle").count(), 4);
}
