//! Replies: values in, bytes out, in the dialect that the client chose with HELLO.
//!
//! The caller writes the header of an aggregate and then exactly as many values as it announced;
//! the writer keeps no count. Nothing here can fail, and nothing is allocated beyond the growth
//! of the output.
//!
//! ```text
//!               RESP2              RESP3
//! map of n      *2n                %n
//! set of n      *n                 ~n
//! push of n     *n                 >n
//! null          $-1 or *-1         _
//! boolean       :1 or :0           #t or #f
//! double        $3 1.5             ,1.5
//! verbatim      $2 hi              =6 txt:hi
//! ```

use std::io::Write as _;

use memchr::memchr3;

use crate::ProtocolError;

/// The dialect that replies are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// The dialect of a new connection.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// Appends replies to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Writer<'a> {
    /// A writer behind what `out` already holds.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The dialect written.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A status such as `+PONG`. CR, LF and NUL become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error; `text` starts with its code, as in `ERR no such key`. CR, LF and NUL become
    /// spaces. Takes bytes too, because error texts quote what the client sent.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// The last reply of a connection, byte for byte as Redis sends it.
    pub fn protocol_error(&mut self, error: ProtocolError) {
        match error {
            ProtocolError::ExpectedBulk { got } => {
                let mut text = *b"ERR Protocol error: expected '$', got '?'";
                let [.., place, _] = &mut text;
                *place = got;
                self.error(text);
            }
            other => self.error(format!("ERR {other}")),
        }
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        match u8::try_from(value) {
            Ok(digit @ 0..=9) => self.out.extend_from_slice(&[b':', b'0' + digit, b'\r', b'\n']),
            _ => self.digits(b':', itoa::Buffer::new().format(value)),
        }
    }

    /// A byte string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 16);
        self.header(b'$', bytes.len());
        self.payload(bytes);
    }

    /// The header of a byte string of `len` bytes: they, and CR LF, are the caller's to write.
    pub fn bulk_header(&mut self, len: usize) {
        self.header(b'$', len);
    }

    /// An integer as a byte string of its digits: any `i64` or `u64`.
    #[inline]
    pub fn bulk_integer(&mut self, value: impl itoa::Integer) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A stream id as the byte string `ms-seq`.
    #[inline]
    pub fn bulk_id(&mut self, ms: u64, seq: u64) {
        let (mut ms_buffer, mut seq_buffer) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (ms, seq) = (ms_buffer.format(ms), seq_buffer.format(seq));
        self.out.reserve(64); // More than the longest id with its header.
        self.header(b'$', ms.len() + 1 + seq.len());
        self.out.extend_from_slice(ms.as_bytes());
        self.out.push(b'-');
        self.payload(seq.as_bytes());
    }

    /// The header of an array of `len` values.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// The header of a map of `len` pairs: key, value, key, value. An array of `2 * len` in RESP2.
    #[inline]
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len * 2),
            Protocol::Resp3 => self.header(b'%', len),
        }
    }

    /// The header of a set of `len` values. An array in RESP2.
    #[inline]
    pub fn set(&mut self, len: usize) {
        self.header(self.choose(b'*', b'~'), len);
    }

    /// The header of a message of `len` values that nobody asked for. An array in RESP2.
    #[inline]
    pub fn push(&mut self, len: usize) {
        self.header(self.choose(b'*', b'>'), len);
    }

    /// The absent value where a byte string could stand.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(self.choose(b"$-1\r\n", b"_\r\n"));
    }

    /// The absent value where an array could stand.
    #[inline]
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(self.choose(b"*-1\r\n", b"_\r\n"));
    }

    /// A truth value; the integer 1 or 0 in RESP2.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// A floating point number in the fewest digits that read back as the same number, with an
    /// exponent where plain digits would be long; `inf`, `-inf`, `nan`. A byte string in RESP2.
    pub fn double(&mut self, value: f64) {
        let (text, len) = double_text(value);
        let text = text.get(..len).unwrap_or_default();
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => self.line(b',', text),
        }
    }

    /// Text for people, marked as such in RESP3, a byte string in RESP2.
    pub fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.out.extend_from_slice(b"txt:");
                self.payload(text.as_bytes());
            }
        }
    }

    fn choose<T>(&self, resp2: T, resp3: T) -> T {
        match self.protocol {
            Protocol::Resp2 => resp2,
            Protocol::Resp3 => resp3,
        }
    }

    /// `mark`, `len` and the end of line. Nearly all lengths have one or two digits.
    #[inline]
    fn header(&mut self, mark: u8, len: usize) {
        match u8::try_from(len) {
            Ok(n @ 0..=9) => self.out.extend_from_slice(&[mark, b'0' + n, b'\r', b'\n']),
            Ok(n @ 10..=99) => {
                self.out.extend_from_slice(&[mark, b'0' + n / 10, b'0' + n % 10, b'\r', b'\n']);
            }
            _ => self.digits(mark, itoa::Buffer::new().format(len)),
        }
    }

    fn digits(&mut self, mark: u8, digits: &str) {
        self.out.push(mark);
        self.payload(digits.as_bytes());
    }

    #[inline]
    fn payload(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A line of text that must not contain what would end it.
    fn line(&mut self, mark: u8, text: &[u8]) {
        self.out.push(mark);
        let mut rest = text;
        while let Some((before, [_, after @ ..])) =
            memchr3(b'\r', b'\n', 0, rest).and_then(|place| rest.split_at_checked(place))
        {
            self.out.extend_from_slice(before);
            self.out.push(b' ');
            rest = after;
        }
        self.payload(rest);
    }
}

/// A request as clients send it: an array of byte strings. For tests, tools and benches.
pub fn request<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Protocol::Resp2);
    writer.array(args.len());
    for arg in args {
        writer.bulk(arg.as_ref());
    }
    out
}

/// Room for the longest text of a double: `-0.00001234567890123456` and `-1.2345678901234567e-308`
/// have 24 characters, plain integers of up to 17 digits and 7 zeros as many.
const DOUBLE_BYTES_MAX: usize = 32;

/// The text of `value` and its length. Plain notation where it is short, as C's shortest-digits
/// printers do it, else scientific.
fn double_text(value: f64) -> ([u8; DOUBLE_BYTES_MAX], usize) {
    let mut scientific = [0; DOUBLE_BYTES_MAX];
    if value.is_nan() {
        // Rust writes NaN, Redis nan.
        let len = write_into(&mut scientific, format_args!("nan"));
        return (scientific, len);
    }
    let len = write_into(&mut scientific, format_args!("{value:e}"));
    let text = scientific.get(..len).unwrap_or_default();
    let Some((mantissa, exponent)) =
        text.iter().position(|byte| *byte == b'e').and_then(|place| text.split_at_checked(place))
    else {
        return (scientific, len); // inf and -inf have no exponent.
    };
    let digits = mantissa.iter().filter(|byte| byte.is_ascii_digit()).count();
    let digits = i64::try_from(digits).unwrap_or(0);
    let exponent = exponent.get(1..).and_then(crate::number::integer).unwrap_or(0);
    // The value is its digits, as an integer, times ten to the power of `shift`.
    let shift = exponent - (digits - 1);
    let plain = if shift >= 0 { exponent < digits + 7 } else { shift > -7 || exponent.abs() < 4 };
    let mut out = [0; DOUBLE_BYTES_MAX];
    let len = if plain {
        write_into(&mut out, format_args!("{value}"))
    } else if exponent < 0 {
        return (scientific, len);
    } else {
        let mantissa = std::str::from_utf8(mantissa).unwrap_or_default();
        write_into(&mut out, format_args!("{mantissa}e+{exponent}"))
    };
    (out, len)
}

/// Writes the text at the head of `out` and returns its length.
fn write_into(out: &mut [u8], text: std::fmt::Arguments<'_>) -> usize {
    let room = out.len();
    let mut rest = &mut *out;
    rest.write_fmt(text).expect("a double has at most 24 characters");
    room - rest.len()
}

#[cfg(test)]
mod tests;
