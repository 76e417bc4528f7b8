//! What systemd hears of a server with `Type=notify`: that it is ready, that its loop still goes
//! round, that it is about to end. Elsewhere, without `NOTIFY_SOCKET`, nobody is told anything.

use levada_server::Moment;
use sd_notify::{NotifyState, notify};

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
