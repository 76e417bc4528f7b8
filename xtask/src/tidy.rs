//! placeholder
use std::path::Path;
/// Placeholder.
pub fn check(_root: &Path) -> anyhow::Result<()> {
    Ok(())
}
