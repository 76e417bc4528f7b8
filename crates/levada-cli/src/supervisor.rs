//! What systemd hears of a server with `Type=notify`: that it is ready, that its loop still goes
//! round (with `WatchdogSec=`), that it is about to end. Elsewhere, without `NOTIFY_SOCKET`, nobody
//! is told anything.

use levada_server::Moment;
use sd_notify::{NotifyState, notify, watchdog_enabled};

/// Signs of life in the time after which systemd kills: two are asked for, and one that comes late
/// must not be the last.
const SIGNS: u64 = 4;

/// How often systemd is to hear that the loop goes round, in milliseconds; `None` if it does not
/// watch this process (`WATCHDOG_USEC`, `WATCHDOG_PID`).
pub(crate) fn alive_ms() -> Option<u64> {
    let within = watchdog_enabled().filter(|within| !within.is_zero())?;
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    Some((within_ms / SIGNS).max(1))
}

/// Tells whoever started this process how far it is.
pub(crate) fn tell(moment: Moment) {
    let state = match moment {
        Moment::Ready => NotifyState::Ready,
        Moment::Alive => NotifyState::Watchdog,
        Moment::Stopping => NotifyState::Stopping,
    };
    // It is a datagram to one who listens or has gone; the server goes on either way.
    let _ = notify(&[state]);
}
