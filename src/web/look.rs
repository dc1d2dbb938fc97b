//! A site's own look, of `hub.logo_file` and `hub.colors`: read once, and again when settings are reloaded.

use std::collections::BTreeMap;

use super::answer;
use crate::config::{look, sections};

/// Logo and colours.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Type and content; none: ours.
    pub(crate) logo: Option<(&'static str, Vec<u8>)>,
    /// A name for this logo, which changes with it; empty for ours. Every page has it.
    pub(crate) logo_version: String,
    /// A style sheet; empty: the built-in colours.
    pub(crate) theme: String,
    /// The same for the style sheet.
    pub(crate) theme_version: String,
}

impl Look {
    /// As the settings say.
    ///
    /// # Errors
    ///
    /// The logo cannot be read or is none.
    pub(crate) fn load(hub: &sections::Hub) -> Result<Self, look::LookError> {
        let look = Self::without_logo(hub);
        if hub.logo_file.as_os_str().is_empty() {
            return Ok(look);
        }
        let logo = look::logo(&hub.logo_file)?;
        Ok(Self { logo_version: version(&logo.1), logo: Some(logo), ..look })
    }

    /// The same with our own logo.
    pub(crate) fn without_logo(hub: &sections::Hub) -> Self {
        let theme = theme(&hub.colors);
        let theme_version =
            if theme.is_empty() { String::new() } else { version(theme.as_bytes()) };
        Self { theme, theme_version, ..Self::default() }
    }
}

fn version(content: &[u8]) -> String {
    answer::tag(content)[1..17].to_owned()
}

/// Style for these colours. They were checked: none can end its declaration.
fn theme(colors: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    for name in look::COLORS {
        let (light, dark) = (colors.get(*name), colors.get(&format!("{name}_dark")));
        let name = name.replace('_', "-");
        let line = match (light, dark) {
            (Some(light), Some(dark)) => format!("light-dark({light}, {dark})"),
            (Some(both), None) => both.clone(),
            // The built-in light one stays.
            (None, Some(dark)) => {
                out.push_str(&format!(
                    "@media (prefers-color-scheme: dark) {{ :root:not([data-bs-theme=light]) {{ --{name}: {dark}; }} }}\n\
                     :root[data-bs-theme=dark] {{ --{name}: {dark}; }}\n"
                ));
                continue;
            }
            (None, None) => continue,
        };
        out.push_str(&format!(":root {{ --{name}: {line}; }}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_in_pairs_and_nothing_is_the_built_in_look() {
        let mut hub = sections::Hub::default();
        let plain = Look::load(&hub).unwrap();
        assert_eq!((plain.theme.as_str(), plain.theme_version.as_str()), ("", ""));
        for (name, value) in [
            ("on_main", "#123456"),
            ("on_main_dark", "rgb(1 2 3)"),
            ("text_dark", "#fff"),
            ("card", "red"),
        ] {
            hub.colors.insert(name.into(), value.into());
        }
        let own = Look::load(&hub).unwrap();
        assert!(own.theme.contains(":root { --on-main: light-dark(#123456, rgb(1 2 3)); }\n"));
        assert!(own.theme.contains(":root { --card: red; }\n"));
        assert!(own.theme.contains(":root[data-bs-theme=dark] { --text: #fff; }\n"));
        assert_eq!(own.theme_version.len(), 16);
        hub.logo_file = "/nowhere/logo.png".into();
        assert!(Look::load(&hub).unwrap_err().to_string().contains("/nowhere/logo.png"));
    }
}
