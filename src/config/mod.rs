//! The configuration as data: one file (`hub.ron`), typed sections, a slice for each role. Only root reads the file.
//!
//! | module | what it is |
//! |---|---|
//! | [`sections`] | the settings, plain data; their doc comments are the reference |
//! | [`catalogue`] | what settings there are, read out of the sections' source; makes `hub.ron` and the reference |
//! | [`outline`] | where each name stands in a file |
//! | [`load`] | a file and overrides become an [`load::Effective`] configuration, or faults with their place |
//! | [`look`] | a site's own logo and colours |
//! | [`templates`] | an operator's page templates, as files |
//! | [`check`] | all that is wrong with a configuration on this machine, at once |
//! | [`pam_stack`] | what a PAM service's file says, includes followed |
//! | [`world`] | what `check` asks of the machine |
//! | [`runtime`] | where a running jovis is found |
//! | [`secret`] | cookie secret and TLS key: read by root, made if missing |
//! | [`slice`] | what each role gets |
//! | [`address`] | where others may be asked |
//! | [`certificate`] | certificate and key: do they belong together, until when are they good |
//! | [`change`] | old and new compared: when each setting takes effect |
//! | [`legacy`] | where the settings of a JupyterHub configuration have their place here |
//!
//! To add a setting: a documented field in its section with a default in `Default`; `hub.ron` gains it (a test compares);
//! where it is used, take it from the slice; if it can change live, say so in `change.rs`; a row in
//! `docs/compatibility.md` if JupyterHub has it.

pub mod address;
pub mod catalogue;
pub mod certificate;
pub mod change;
pub mod check;
pub mod environment;
pub mod legacy;
pub mod load;
pub mod look;
pub mod outline;
pub mod pam_stack;
pub mod runtime;
pub mod secret;
pub mod sections;
pub mod site;
pub mod slice;
pub mod templates;
pub mod world;

pub use load::{Effective, Override, Source};
pub use sections::Config;
