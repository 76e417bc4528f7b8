//! Makes a failing trace short enough to read: leaves out whatever it fails without.

/// The shortest list that greedy removal finds for which `fails` still holds: first long runs, then
/// single elements, until nothing more can go. `fails` holds for `steps`.
pub fn shrink<T: Clone>(steps: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut left = steps.to_vec();
    let mut run = left.len().div_ceil(2);
    while run > 0 {
        let (mut at, before) = (0, left.len());
        while at < left.len() {
            let end = (at + run).min(left.len());
            let without: Vec<T> = left[..at].iter().chain(&left[end..]).cloned().collect();
            if fails(&without) {
                left = without;
            } else {
                at = end;
            }
        }
        if run > 1 || left.len() == before {
            run /= 2;
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::shrink;

    #[test]
    fn keeps_what_the_failure_needs() {
        let steps: Vec<u32> = (0..100).collect();
        let fails = |steps: &[u32]| steps.contains(&17) && steps.contains(&80);
        assert_eq!(shrink(&steps, fails), [17, 80]);
    }
}
