//! The broker for tests: time moves when it is told to.

use std::time::Duration;

use levada::testing::TestBroker;
use levada::{Attempt, Event, Fault, Janitor, Msg, Retry, Worker};

#[derive(serde::Serialize, serde::Deserialize)]
struct Bill(u32);

impl Event for Bill {
    const STREAM: &'static str = "bills";
}

async fn pay(Attempt(attempt): Attempt, Msg(Bill(n)): Msg<Bill>) -> Result<(), Fault> {
    match (n, attempt) {
        (1, 1) => Err(Fault::new("not yet")),
        (2, _) => Err(Fault::new("never")),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn a_rest_of_a_day_takes_no_time() {
    let test = TestBroker::new().expect("a broker");
    let (day, second) = (Duration::from_hours(24), Duration::from_secs(1));
    let almost = Duration::from_secs(86_399);
    let worker = || Worker::new(&test, "till").handle(pay).retry(Retry::fixed(2, day));
    for n in 0..3 {
        test.push(&Bill(n)).await.expect("pushed");
    }
    test.drain(worker()).await.expect("drained");
    test.assert_acked(1);
    test.assert_retried(2);
    test.advance(almost).await.expect("advanced");
    test.drain(worker()).await.expect("drained");
    test.assert_acked(1);
    test.advance(second).await.expect("advanced");
    test.drain(worker()).await.expect("drained");
    test.assert_acked(2);
    test.assert_dead(1);
}

#[tokio::test]
async fn what_is_due_in_a_day_takes_no_time_either() {
    let test = TestBroker::new().expect("a broker");
    let day = Duration::from_hours(24);
    let worker = || Worker::new(&test, "till").handle(pay);
    test.producer().send_in(&Bill(0), day).await.expect("scheduled");
    test.drain(worker()).await.expect("drained");
    test.assert_acked(0);
    test.advance(day).await.expect("advanced");
    test.drain(worker()).await.expect("drained");
    test.assert_acked(1);
}

#[tokio::test]
async fn an_age_is_told_by_the_clock_that_gave_the_id() {
    let test = TestBroker::new().expect("a broker");
    let hour = Duration::from_hours(1);
    test.push(&Bill(0)).await.expect("pushed");
    test.advance(hour).await.expect("advanced");
    let janitor = Janitor::new(&test).alert_age(hour * 2);
    let report = janitor.sweep(Bill::STREAM).await.expect("swept");
    assert_eq!(report.age, Some(hour));
    let is_age = |alert: &String| alert.contains("old");
    assert!(!report.alerts.iter().any(is_age), "{:?}", report.alerts);
}

#[tokio::test]
#[should_panic(expected = "dead letters")]
async fn an_assertion_can_fail() {
    TestBroker::new().expect("a broker").assert_dead(1);
}
