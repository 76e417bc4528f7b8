//! The verbs behind `cargo xtask`, as a library, so that tests can call what the command line
//! calls: `transcript` runs golden sessions against a live server, `tidy` checks the shape of the
//! source, `peers` installs real servers, `peer` starts those that the others need, `apps` runs the
//! reference applications, `clients` runs other people's clients, `guide` does what the guide says,
//! `package` makes and tries packages, `ci` runs everything in order.
//!
//! Nothing here is part of the product, and no crate of the product depends on it.

pub mod apps;
pub mod ci;
pub mod clients;
pub mod conformance;
pub mod costs;
pub mod deny;
pub mod differential;
pub mod guide;
pub mod package;
pub mod peer;
pub mod peers;
pub mod tidy;
pub mod toolkit;
pub mod transcript;
pub mod workspace;
