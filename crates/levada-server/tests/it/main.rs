//! The server from outside.

mod compat;
