//! What producers write: values that say who wrote them and whose every byte is known, so that a
//! reader can tell an intact value from any other without asking its writer.

use crate::random::Random;

/// Who wrote a value, and which of its values it is: unique in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The producer; every producer of every round has its own number.
    pub producer: u32,
    /// Counts the values of this producer, from 0.
    pub number: u32,
}

/// One value in this many is large, so that a log is not made of small records alone.
const LARGE_ONE_IN: u64 = 60;

impl Key {
    /// The bytes of the value: `producer-number:` and filler, 16 to 215 or 2048 to 18431 bytes of
    /// it, of any byte value.
    pub fn value(self) -> Vec<u8> {
        let mut chance = Random::new(u64::from(self.producer) << 32 | u64::from(self.number));
        let filler = if chance.below(LARGE_ONE_IN) == 0 {
            2048 + chance.below(16_384)
        } else {
            16 + chance.below(200)
        };
        let mut value = format!("{}-{}:", self.producer, self.number).into_bytes();
        let length = value.len() + usize::try_from(filler).expect("filler is below 2^15");
        while value.len() < length {
            value.extend_from_slice(&chance.bits().to_le_bytes());
        }
        value.truncate(length);
        value
    }

    /// The key of an intact value; fails, saying why, for any other bytes.
    pub fn of(value: &[u8]) -> Result<Self, String> {
        let head = &value[..value.len().min(24)];
        let parse = || {
            let name = std::str::from_utf8(head.split(|byte| *byte == b':').next()?).ok()?;
            let (producer, number) = name.split_once('-')?;
            Some(Self { producer: producer.parse().ok()?, number: number.parse().ok()? })
        };
        let key = parse().ok_or_else(|| {
            let head = String::from_utf8_lossy(head);
            format!("a value that nobody wrote: {head:?}, {} bytes", value.len())
        })?;
        if key.value() == value {
            Ok(key)
        } else {
            Err(format!("{key:?} has other bytes than were written"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intact_value_names_its_key_and_no_other_bytes_do() {
        for number in 0..200 {
            let key = Key { producer: 7, number };
            let mut value = key.value();
            assert_eq!(Key::of(&value), Ok(key));
            let last = value.len() - 1;
            value[last] ^= 1;
            assert!(Key::of(&value).is_err());
            assert!(Key::of(&value[..last]).is_err());
        }
        assert!(Key::of(b"").is_err());
        assert!(Key::of(b"no key").is_err());
    }
}
