//! An operator's page templates, as files: read, and looked at for mistakes before anything starts. What they are used
//! for is the web's business.

use std::path::PathBuf;

use minijinja::Environment;
use thiserror::Error;

/// An operator's template cannot be used.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// A folder or file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// It is no template.
    #[error("{}, line {line}: {why}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where in it, counted from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
}

/// Can the templates in these folders be used?
///
/// # Errors
///
/// The first file that cannot be read or is no template, and where in it.
pub fn check(folders: &[PathBuf]) -> Result<(), TemplateError> {
    let mut env = Environment::new();
    for (name, path, text) in
        folders.iter().map(read).collect::<Result<Vec<_>, _>>()?.into_iter().flatten()
    {
        env.add_template_owned(name, text).map_err(|error| broken(path, &error))?;
    }
    Ok(())
}

/// What the template language found wrong, with the file it is in.
pub(crate) fn broken(path: PathBuf, error: &minijinja::Error) -> TemplateError {
    let kind = error.kind();
    let why = error.detail().map_or(kind.to_string(), |detail| format!("{kind}: {detail}"));
    TemplateError::Parse { path, line: error.line().unwrap_or(1), why }
}

/// Name, place and text of each template in a folder.
pub(crate) fn read(folder: &PathBuf) -> Result<Vec<(String, PathBuf, String)>, TemplateError> {
    let at = |path: &PathBuf| {
        let path = path.clone();
        move |error| TemplateError::Read { path, error }
    };
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.ends_with(".html") {
            let text = std::fs::read_to_string(&path).map_err(at(&path))?;
            out.push((name, path, text));
        }
    }
    Ok(out)
}
