//! W3C trace context: which request an event belongs to, across processes.
//!
//! Every event carries a `traceparent`. In a handler, what is sent belongs to the trace of what is
//! handled; elsewhere a new trace begins, unless the producer was given one.

use std::fmt;

use crate::random;

/// A `traceparent` of version 00 (W3C Trace Context, 2021).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceContext {
    /// Of the whole trace, not 0.
    pub trace: u128,
    /// Of the step that caused this one, not 0.
    pub span: u64,
    /// Bit 0: sampled.
    pub flags: u8,
}

tokio::task_local! {
    static CURRENT: TraceContext;
}

impl TraceContext {
    /// Reads a header; `None` where it is malformed or of another version's shape.
    ///
    /// ```
    /// use levada::TraceContext;
    ///
    /// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    /// let context = TraceContext::parse(text).expect("well-formed");
    /// assert_eq!(context.to_string(), text);
    /// assert_eq!(TraceContext::parse("00-0-0-01"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (version, rest) = text.split_at_checked(2)?;
        let parts: Vec<&str> = rest.strip_prefix('-')?.splitn(4, '-').collect();
        let [trace, span, flags] = parts.get(..3)?.try_into().ok()?;
        let hex = |part: &str, digits: usize| {
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            (part.len() == digits && part.bytes().all(is_hex))
                .then(|| u128::from_str_radix(part, 16).ok())?
        };
        let known = hex(version, 2)? != 0xff && (version != "00" || parts.len() == 3);
        let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
        (known && trace != 0 && span != 0).then_some(Self {
            trace,
            span: u64::try_from(span).ok()?,
            flags: u8::try_from(flags).ok()?,
        })
    }

    /// The first step of a new trace, made of three random numbers; not sampled.
    pub(crate) fn root([high, low, span]: [u64; 3]) -> Self {
        let trace = (u128::from(high) << 64 | u128::from(low)).max(1);
        Self { trace, span: span.max(1), flags: 0 }
    }

    /// The next step of the same trace.
    pub(crate) fn child(self, span: u64) -> Self {
        Self { span: span.max(1), ..self }
    }

    /// The context of the event that is being handled, inside a handler.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|context| *context).ok()
    }

    /// What the next event carries.
    pub(crate) fn next() -> Self {
        match Self::current() {
            Some(current) => current.child(random::number()),
            None => Self::root([random::number(), random::number(), random::number()]),
        }
    }

    /// Runs something as part of this trace.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_malformed_is_ignored() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(TraceContext::parse(good).is_some());
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        assert!(TraceContext::parse(later).is_some(), "later versions may have more parts");
    }

    #[test]
    fn a_child_stays_in_its_trace() {
        let root = TraceContext::root([1, 2, 0]);
        assert_eq!((root.trace, root.span), (1 << 64 | 2, 1));
        assert_eq!(root.child(9).trace, root.trace);
    }
}
