//! The configuration as data: one file (`hub.ron`), typed sections, a slice for each role. Only root reads the file.
//!
//! To add a setting: a documented field in its section with a default in `Default`; `hub.ron` gains it (a test compares);
//! where it is used, take it from the slice; if it can change live, say so in `change.rs`; a row in
//! `docs/compatibility.md` if JupyterHub has it.

pub mod sections;
pub mod slice;

pub use sections::Config;
