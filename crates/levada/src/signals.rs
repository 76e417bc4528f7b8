//! The shutdown that a process is asked for from outside.

use crate::error::{Error, Result};

/// A future for [`crate::Worker::run`] that is over at SIGTERM or Ctrl-C: the worker drains. At the
/// second one the process ends at once, with the exit code that shells give for it (143, 130): what
/// was not finished goes to other workers when its lease ends.
///
/// It has to be called inside a tokio runtime, which listens from the call on.
///
/// ```no_run
/// # async fn run(worker: levada::Worker) -> levada::Result<()> {
/// worker.run(levada::terminated()?).await?;
/// # Ok(())
/// # }
/// ```
#[cfg(unix)]
pub fn terminated() -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Error::Invalid(error.to_string()));
    let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let (told, first) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut told = Some(told);
        loop {
            let code = tokio::select! {
                _ = term.recv() => 143,
                _ = int.recv() => 130,
            };
            match told.take() {
                // Nobody listens where the worker has ended already.
                Some(told) => drop(told.send(())),
                None => std::process::exit(code),
            }
        }
    });
    Ok(async move {
        // An error says that the runtime ends, and with it the worker.
        let _ = first.await;
    })
}
