//! What the toolkit promises, one test each, on every backend.

mod beside;
mod failing;
mod handling;
mod holding;
mod partitions;
mod sending;
mod steps;

/// An event with a number and a key, in a stream of its own.
macro_rules! event {
    ($name:ident, $stream:literal) => {
        #[derive(serde::Serialize, serde::Deserialize, Clone, PartialEq, Eq, Debug)]
        struct $name {
            n: u32,
            #[serde(default)]
            of: String,
        }

        impl levada::Event for $name {
            const STREAM: &'static str = $stream;

            fn key(&self) -> Option<&str> {
                (!self.of.is_empty()).then_some(&*self.of)
            }
        }

        impl $name {
            #[allow(dead_code, reason = "not every promise needs both")]
            fn new(n: u32) -> Self {
                Self { n, of: String::new() }
            }

            #[allow(dead_code, reason = "not every promise needs both")]
            fn keyed(n: u32, of: &str) -> Self {
                Self { n, of: of.to_owned() }
            }
        }
    };
}
pub(crate) use event;

/// A test that keeps a promise everywhere.
macro_rules! promise {
    (
        $(#[$about:meta])*
        $name:ident, [$($stream:expr),*], |$broker:ident, $world:ident| $body:block
    ) => {
        $(#[$about])*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let promise = |$broker: levada::Broker, $world: $crate::world::World| async move {
                let _ = &$world;
                $body
            };
            $crate::world::everywhere(stringify!($name), &[$($stream),*], promise).await;
        }
    };
}
pub(crate) use promise;
