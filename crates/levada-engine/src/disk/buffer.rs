//! Bytes on their way to a device.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, OnceLock},
};

use super::background::unpoisoned;

/// Bytes of a page: what devices want places, lengths and addresses to be multiples of.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Buffers that [`Memory`] keeps, and the bytes of the largest of them.
const KEPT_MAX: usize = 8;
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Bytes that several may hold; a clone shares them.
///
/// Those made by [`Buffer::pages`] and [`Buffer::later`] are whole pages at the address of one, so
/// that a device can fetch them without the system's cache between (`O_DIRECT`).
#[derive(Clone)]
pub struct Buffer {
    bytes: Bytes,
    len: usize,
}

#[derive(Clone)]
enum Bytes {
    /// From a place on.
    Here(Arc<[u8]>, usize),
    Later(Arc<Later>),
}

/// What writes pages.
type Write = dyn Fn(&mut [u8]) + Send + Sync;

/// Pages that whoever first wants to see them has to write.
struct Later {
    write: Box<Write>,
    pages: OnceLock<Buffer>,
    memory: Arc<Memory>,
}

/// Where pages that nobody has any more wait for their next use: a few, and none that are large.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Vec<Buffer>>);

impl Buffer {
    /// So many pages of zeros.
    pub fn zero_pages(count: usize) -> Self {
        Self::pages(count * PAGE_BYTES, None)
    }

    /// Whole pages, `len` bytes and a rest: in the memory of `last` if it is long enough, not four
    /// times too long, and nobody else has it. What is in them is undefined.
    pub(crate) fn pages(len: usize, last: Option<Self>) -> Self {
        let len = len.next_multiple_of(PAGE_BYTES);
        let fits = |last: &Self| (len..=len.saturating_mul(4)).contains(&last.capacity());
        if let Some(mut last) = last.filter(fits)
            && last.get_mut().is_some()
        {
            return Self { len, ..last };
        }
        let bytes: Arc<[u8]> = std::iter::repeat_n(0, len + PAGE_BYTES).collect();
        let start = bytes.as_ptr().align_offset(PAGE_BYTES);
        // Only an interpreter answers that it cannot tell; then they are bytes as any.
        Self { bytes: Bytes::Here(bytes, if start < PAGE_BYTES { start } else { 0 }), len }
    }

    /// The same, to be written by whoever first looks at them, which is most often the thread that
    /// hands them to the device: `write` gets all of them, with anything in them.
    pub(crate) fn later(
        len: usize,
        memory: &Arc<Memory>,
        write: impl Fn(&mut [u8]) + Send + Sync + 'static,
    ) -> Self {
        let (write, memory): (Box<Write>, _) = (Box::new(write), Arc::clone(memory));
        let later = Later { write, pages: OnceLock::new(), memory };
        Self { bytes: Bytes::Later(Arc::new(later)), len: len.next_multiple_of(PAGE_BYTES) }
    }

    /// How many bytes these are; they need not be there for it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes, if nobody else has them.
    pub(crate) fn get_mut(&mut self) -> Option<&mut [u8]> {
        match &mut self.bytes {
            Bytes::Here(bytes, start) => {
                Arc::get_mut(bytes).map(|bytes| &mut bytes[*start..][..self.len])
            }
            Bytes::Later(_) => None,
        }
    }

    /// Whether these are whole pages at the address of one.
    pub(crate) fn is_pages(&self) -> bool {
        self.len.is_multiple_of(PAGE_BYTES) && self.as_ptr().align_offset(PAGE_BYTES) == 0
    }

    /// What fits from the first byte on.
    fn capacity(&self) -> usize {
        match &self.bytes {
            Bytes::Here(bytes, start) => (bytes.len() - start) / PAGE_BYTES * PAGE_BYTES,
            Bytes::Later(_) => 0,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Here(bytes, start) => &bytes[*start..][..self.len],
            Bytes::Later(later) => later.pages(self.len),
        }
    }
}

impl Later {
    fn pages(&self, len: usize) -> &[u8] {
        self.pages.get_or_init(|| {
            let mut pages = Buffer::pages(len, self.memory.take());
            (self.write)(pages.get_mut().expect("nobody else has it yet"));
            pages
        })
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        if let Some(pages) = self.pages.take() {
            self.memory.give(pages);
        }
    }
}

impl Memory {
    fn take(&self) -> Option<Buffer> {
        unpoisoned(&self.0).pop()
    }

    fn give(&self, pages: Buffer) {
        let mut kept = unpoisoned(&self.0);
        if kept.len() < KEPT_MAX && pages.capacity() <= KEPT_BYTES_MAX {
            kept.push(pages);
        }
    }
}

impl From<Arc<[u8]>> for Buffer {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self { len: bytes.len(), bytes: Bytes::Here(bytes, 0) }
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn pages_keep_their_memory_as_long_as_nobody_else_has_it() {
        let mut first = Buffer::pages(5000, None);
        assert!(first.is_pages() && first.len() == 8192);
        first.get_mut().expect("its only owner")[8191] = 7;
        let held = first.clone();
        let at = first.as_ptr();
        let mut second = Buffer::pages(1, Some(first));
        assert_ne!(second.as_ptr(), at, "another has it");
        assert_eq!(held[8191], 7);
        second.get_mut().expect("its only owner")[0] = 9;
        let third = Buffer::pages(4096, Some(held));
        assert_eq!((third.as_ptr(), third.len()), (at, 4096));
        let fourth = Buffer::pages(8192, Some(third));
        assert_eq!((fourth.as_ptr(), fourth[8191]), (at, 7));
        assert_ne!(Buffer::pages(8193, Some(fourth.clone())).as_ptr(), at, "it is too short");
        assert!(!Buffer::from(vec![0; 100]).is_pages());
    }

    #[test]
    fn pages_are_written_once_by_whoever_looks_and_their_memory_is_kept() {
        let (memory, written) = (Arc::<Memory>::default(), Arc::new(AtomicUsize::new(0)));
        let of = |len: usize, byte: u8| {
            let written = Arc::clone(&written);
            Buffer::later(len, &memory, move |pages| {
                pages.fill(byte);
                written.fetch_add(1, Ordering::SeqCst);
            })
        };
        let later = |byte| of(5000, byte);
        let (first, second) = (later(7), later(8));
        let also_first = first.clone();
        assert_eq!((first.len(), written.load(Ordering::SeqCst)), (8192, 0));
        assert!(first.is_pages());
        assert_eq!((first[8191], also_first[0], written.load(Ordering::SeqCst)), (7, 7, 1));
        let at = first.as_ptr();
        drop((first, also_first));
        assert_eq!((second.as_ptr(), second[0], written.load(Ordering::SeqCst)), (at, 8, 2));
        drop(second);
        // A large one is not kept, and of the others a few, however many there were.
        assert_eq!(of(KEPT_BYTES_MAX + 1, 7)[KEPT_BYTES_MAX], 7);
        assert_eq!(memory.0.lock().expect("no panic").len(), 0);
        let many: Vec<_> = (0..2 * KEPT_MAX).map(|_| later(9)).collect();
        assert!(many.iter().all(|pages| pages[0] == 9));
        drop(many);
        assert_eq!(memory.0.lock().expect("no panic").len(), KEPT_MAX);
    }
}
