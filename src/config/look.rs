//! A site's own logo and colours: read, and looked at for mistakes before anything starts.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Largest logo, in bytes.
const LARGEST: u64 = 1 << 20;

/// What colours there are, as in `static/style.css`; `_dark` behind a name is for dark pages.
pub const COLORS: &[&str] = &[
    "ground", "card", "text", "soft", "line", "edge", "main", "on_main", "danger", "good", "warn",
];

/// Languages of the pages.
pub const LANGUAGES: &[&str] = &["en", "de"];

/// A logo cannot be used.
#[derive(Debug, Error)]
pub enum LookError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It is none, or too large.
    #[error("{}: {why}", path.display())]
    Logo {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

/// The media type by the file's name.
pub fn kind(path: &Path) -> Option<&'static str> {
    let end = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match end.as_str() {
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        _ => return None,
    })
}

/// Type and content of a logo.
///
/// # Errors
///
/// It cannot be read, is of no type that browsers show, or larger than a mebibyte.
pub fn logo(path: &Path) -> Result<(&'static str, Vec<u8>), LookError> {
    let wrong = |why| LookError::Logo { path: path.to_owned(), why };
    let kind =
        kind(path).ok_or_else(|| wrong("a logo is .svg, .png, .jpg, .gif, .webp or .ico"))?;
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| LookError::Read { path: path.to_owned(), error })?;
    if bytes.len() as u64 > LARGEST {
        return Err(wrong("a logo has at most a mebibyte"));
    }
    Ok((kind, bytes))
}

/// Is there such a colour, and is this one? Nothing in it can end a declaration of CSS.
///
/// # Errors
///
/// What is wrong with it.
pub fn color(name: &str, value: &str) -> Result<(), String> {
    if !COLORS.contains(&name.strip_suffix("_dark").unwrap_or(name)) {
        return Err(format!("there is no colour `{name}`; there are {}", COLORS.join(", ")));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "#(),.%/ -".contains(c);
    if value.trim().is_empty() || value.len() > 80 || !value.chars().all(legal) {
        return Err(format!(
            "`{value}` is no colour of CSS, such as `#1d5cb8` or `rgb(29 92 184)`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_cannot_end_its_declaration() {
        assert_eq!(color("main", "#1d5cb8"), Ok(()));
        assert_eq!(color("on_main_dark", "oklch(40% 0.2 30 / 50%)"), Ok(()));
        for bad in ["", "red; }", "url('x')", "red\n", "}", "/* "] {
            assert!(color("main", bad).is_err(), "{bad}");
        }
        assert!(color("mian", "red").unwrap_err().contains("main"));
    }

    #[test]
    fn a_logo_is_a_picture_of_some_size() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.PNG"), b"x").unwrap();
        assert_eq!(logo(&at("a.PNG")).unwrap(), ("image/png", b"x".to_vec()));
        std::fs::write(at("a.txt"), b"x").unwrap();
        std::fs::write(at("b.svg"), vec![0; 1 << 21]).unwrap();
        for bad in ["a.txt", "b.svg", "none.svg"] {
            assert!(logo(&at(bad)).is_err(), "{bad}");
        }
    }
}
