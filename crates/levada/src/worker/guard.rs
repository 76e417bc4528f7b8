//! A handler's run: its panics are caught, its time is limited.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Runs a future whose panic becomes an error with its text. In a program that aborts on panics
/// there is nothing to catch; the lease of the event ends then, and it comes again.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    Caught(Box::pin(future)).await
}

/// The same, and `None` where it takes longer than it may.
pub(super) async fn limited<F: Future>(
    future: F,
    limit: Option<Duration>,
) -> Option<Result<F::Output, String>> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, caught(future)).await.ok(),
        None => Some(caught(future).await),
    }
}

struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The future is dropped behind a panic and never looked at again.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(text(&*panic))),
        }
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("without a text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_text() {
        let number = 7;
        let caught = caught(async { assert!(number != 7, "seven is {}", "odd") }).await;
        assert_eq!(caught, Err("the handler panicked: seven is odd".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_limited() {
        let second = Duration::from_secs(1);
        assert_eq!(limited(tokio::time::sleep(second * 2), Some(second)).await, None);
        assert_eq!(limited(async { 1 }, Some(second)).await, Some(Ok(1)));
    }
}
