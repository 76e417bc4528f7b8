//! Threads, and what stands between them: those of the standard library.
//!
//! Whatever hands work from thread to thread takes them from its parent module. The tests compile
//! these files a second time below a parent that has the threads of `shuttle`: see `shuttled`.

pub(crate) use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic, mpsc},
    thread,
};
