//! Packages of the distribution, for those who may install them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::run;

/// What Debian asks before a package starts its service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs packages without starting any service. Fails where this process is not root.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    ensure!(super::has("apt-get"), "install {packages:?}: this system has no apt-get");
    ensure!(is_root()?, "install {packages:?}: only root can do that here");
    let _forbidden = Policy::forbid()?;
    // The lists of a fresh machine are empty or old.
    run(Command::new("apt-get").arg("update"))?;
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages))?;
    Ok(())
}

/// Whether this process may do everything.
pub(super) fn is_root() -> Result<bool> {
    Ok(run(Command::new("id").arg("-u"))?.trim() == "0")
}

/// Keeps services from starting as long as it lives, unless the machine has a policy already.
struct Policy {
    made: bool,
}

impl Policy {
    fn forbid() -> Result<Self> {
        let made = !Path::new(POLICY).exists();
        if made {
            std::fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
            std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { made })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.made {
            // An error has nowhere to go; the file only keeps services from starting.
            let _ = std::fs::remove_file(POLICY);
        }
    }
}
