//! Strings of a reply that are long, or many: written into the buffer as the socket takes them.
//!
//! They are shared with the keys that hold them, so that a reply of any length needs little memory,
//! however slowly its client reads, and though it names one key a thousand times.

use std::sync::Arc;

use levada_resp::{Protocol, Writer};

/// Bytes up to which strings are written at once.
pub(crate) const AT_ONCE_BYTES_MAX: usize = 64 << 10;

/// Strings or nulls, in order, and how far they are written.
#[derive(Debug)]
pub(crate) struct Values {
    rest: std::vec::IntoIter<Option<Arc<[u8]>>>,
    /// The one that is being written, and its bytes that are.
    current: Option<(Arc<[u8]>, usize)>,
}

impl Values {
    pub(crate) fn new(values: Vec<Option<Arc<[u8]>>>) -> Self {
        Self { rest: values.into_iter(), current: None }
    }

    /// Writes until `out` holds `bytes_max` or nothing is left; whether nothing is.
    pub(crate) fn draw(&mut self, out: &mut Vec<u8>, protocol: Protocol, bytes_max: usize) -> bool {
        while out.len() <= bytes_max {
            let Some((value, written)) = &mut self.current else {
                match self.rest.next() {
                    None => return true,
                    Some(None) => Writer::new(out, protocol).null(),
                    Some(Some(value)) => {
                        Writer::new(out, protocol).bulk_header(value.len());
                        self.current = Some((value, 0));
                    }
                }
                continue;
            };
            let left = &value[*written..];
            let (now, later) = left.split_at(left.len().min(bytes_max + 1 - out.len()));
            out.extend_from_slice(now);
            *written += now.len();
            if later.is_empty() {
                out.extend_from_slice(b"\r\n");
                self.current = None;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_they_are_cut_they_are_the_same() {
        let values = [Some(&b"one"[..]), None, Some(b""), Some(b"three\r\n")];
        let values = || values.iter().map(|value| value.map(Arc::from)).collect();
        for bytes_max in [0, 1, 2, 5, 1000] {
            let (mut values, mut all) = (Values::new(values()), Vec::new());
            for _ in 0..1000 {
                let mut out = Vec::new();
                let over = values.draw(&mut out, Protocol::Resp3, bytes_max);
                all.extend(out);
                if over {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&all);
            assert_eq!(text, "$3\r\none\r\n_\r\n$0\r\n\r\n$7\r\nthree\r\n\r\n", "{bytes_max}");
        }
    }
}
