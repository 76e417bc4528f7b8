//! Descriptors kept back for when the system has no more, as others took them or the limit was
//! lowered: a store that cannot open the next file of its log has to stop.

use std::{fs, io, path::PathBuf};

use rustix::io::Errno;

/// How many: a file of the log, a checkpoint, a manifest and a directory, twice.
const SPARES_MAX: usize = 8;

/// See the module.
pub(super) struct Spares {
    /// Anything that can always be opened.
    path: PathBuf,
    kept: Vec<fs::File>,
}

impl Spares {
    pub(super) fn new(path: PathBuf) -> Self {
        let mut spares = Self { path, kept: Vec::with_capacity(SPARES_MAX) };
        spares.refill();
        spares
    }

    /// Opens something, in the place of what is kept where there is no other.
    pub(super) fn open<T>(&mut self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match open() {
                Err(error) if is_out_of_files(&error) && self.kept.pop().is_some() => {}
                opened => return opened,
            }
        }
    }

    /// Something was closed: keeps what there is room for.
    pub(super) fn refill(&mut self) {
        while self.is_short() {
            match fs::File::open(&self.path) {
                Ok(file) => self.kept.push(file),
                Err(_) => break,
            }
        }
    }

    /// Whether some were given away and not won back.
    pub(super) fn is_short(&self) -> bool {
        self.kept.len() < SPARES_MAX
    }
}

/// Whether the process, or the whole system, has too many open files.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    let ours = [Errno::MFILE, Errno::NFILE];
    error.raw_os_error().is_some_and(|code| ours.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn each_spare_is_another_try_and_comes_back() {
        let mut spares = Spares::new(std::env::temp_dir());
        assert!(!spares.is_short());
        for errno in [Errno::MFILE, Errno::NFILE] {
            let tries = Cell::new(0);
            let opens_at = |which: usize| {
                tries.set(tries.get() + 1);
                if tries.get() < which { Err(io::Error::from(errno)) } else { Ok(which) }
            };
            // As many as there are, and then one too many.
            assert_eq!(spares.open(|| opens_at(SPARES_MAX + 1)).expect("the last"), SPARES_MAX + 1);
            assert!(spares.is_short());
            tries.set(0);
            let error = spares.open(|| opens_at(2)).expect_err("nothing is kept any more");
            assert_eq!((error.raw_os_error(), tries.get()), (Some(errno.raw_os_error()), 1));
            spares.refill();
            assert!(!spares.is_short());
        }
    }

    #[test]
    fn no_other_error_costs_a_spare() {
        let mut spares = Spares::new(std::env::temp_dir());
        let missing = || Err::<(), _>(io::Error::from(Errno::NOENT));
        assert_eq!(spares.open(missing).expect_err("missing").kind(), io::ErrorKind::NotFound);
        assert!(!spares.is_short());
    }
}
