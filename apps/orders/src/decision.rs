//! Paid or cancelled: which of the two was first, decided once for each order.
//!
//! The money and the deadline may come at the same moment, to different workers. Who sets the key
//! of the order first has decided; the other finds that out and goes the other way. Whoever is
//! killed behind the decision finds his own again when the event is delivered again.

use levada::{Broker, Cache, Result};
use serde::{Deserialize, Serialize};

/// How it ended.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    Paid,
    Cancelled,
}

/// The decisions, one key for each order.
#[derive(Clone, Debug)]
pub(crate) struct Decisions(Cache);

impl Decisions {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self(Cache::new(broker, "orders:decided"))
    }

    /// Whether it ends like this: decided now, or before.
    pub(crate) async fn is(&self, order: &str, wanted: Decision) -> Result<bool> {
        if self.0.add(order, &wanted, None).await? {
            return Ok(true);
        }
        Ok(self.0.get::<Decision>(order).await? == Some(wanted))
    }
}
