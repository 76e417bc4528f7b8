//! Bytes on their way to a device.

use std::{fmt, ops::Deref, sync::Arc};

/// Bytes of a page: what devices want places, lengths and addresses to be multiples of.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Bytes that several may hold; a clone shares them.
///
/// Those made by [`Buffer::pages`] are whole pages at the address of one, so that a device can
/// fetch them without the system's cache between (`O_DIRECT`).
#[derive(Clone)]
pub struct Buffer {
    bytes: Arc<[u8]>,
    start: usize,
    len: usize,
}

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
        Self { bytes, start: if start < PAGE_BYTES { start } else { 0 }, len }
    }

    /// The bytes, if nobody else has them.
    pub(crate) fn get_mut(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.bytes).map(|bytes| &mut bytes[self.start..][..self.len])
    }

    /// Whether these are whole pages at the address of one.
    pub(crate) fn is_pages(&self) -> bool {
        self.len.is_multiple_of(PAGE_BYTES) && self.as_ptr().align_offset(PAGE_BYTES) == 0
    }

    /// What fits from the first byte on.
    fn capacity(&self) -> usize {
        (self.bytes.len() - self.start) / PAGE_BYTES * PAGE_BYTES
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..][..self.len]
    }
}

impl From<Arc<[u8]>> for Buffer {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self { start: 0, len: bytes.len(), bytes }
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
}
