//! Whose wire is spoken.

/// The version of JupyterHub whose wire is spoken; clients compare it with theirs.
pub const VERSION: &str = "6.1.1";

/// Does this server come from another JupyterHub than the one whose wire is spoken: another major or minor number? One
/// that says nothing is none of JupyterHub's, and has no version to differ in.
pub fn is_another(version: &str) -> bool {
    let line = |version: &str| {
        let mut parts = version.split('.');
        (parts.next().map(ToOwned::to_owned), parts.next().map(ToOwned::to_owned))
    };
    !version.is_empty() && line(version) != line(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_another_version_are_told_apart() {
        for same in ["", "6.1.1", "6.1.0", "6.1", "6.1.2.dev"] {
            assert!(!is_another(same), "{same:?}");
        }
        for other in ["6.0.1", "5.5.4", "4.1.6", "6", "61.1", "nonsense"] {
            assert!(is_another(other), "{other:?}");
        }
    }
}
