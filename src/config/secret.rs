//! Secrets root reads before it hands each to the one role that needs it: the key that signs cookies, the TLS key, and the
//! token of the proxy's REST API.
//!
//! Files are opened without following links and without waiting, and must be regular files that others cannot open:
//! their folder may belong to the hub's account, which root does not trust. Errors name files, never contents.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use jovis_actors::domain::Secret;
use nix::{
    fcntl::{OFlag, openat, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Config, certificate, sections};

/// Name of the cookie secret's file in the state directory.
pub const COOKIE_SECRET: &str = "cookie_secret";
/// The variable that goes before the file, in hex.
pub const COOKIE_VARIABLE: &str = "JPY_COOKIE_SECRET";
/// Name of the file with the token of the proxy's REST API in the state directory.
pub const PROXY_TOKEN: &str = "proxy_auth_token";
/// The variable that goes before the file.
pub const PROXY_VARIABLE: &str = "CONFIGPROXY_AUTH_TOKEN";
/// The variable with the keys for what is kept about people, the first of them for writing.
pub const CRYPT_VARIABLE: &str = "JUPYTERHUB_CRYPT_KEY";
/// Bytes of a key for sealing.
pub const KEY: usize = 32;
/// Bytes of a secret we make.
const FRESH: usize = 32;
/// Fewest bytes we accept.
const FEWEST: usize = 16;
/// Longest file or variable, in bytes (JupyterHub's docs once advised 1024 bytes of secret, so 2048 digits).
const LONGEST: u64 = 64 << 10;

/// Why a secret cannot be used.
#[derive(Debug, Error)]
pub enum SecretError {
    /// Not hex digits in pairs.
    #[error("it is not hex; make one with `openssl rand -hex 32`")]
    NotHex,
    /// Not letters, digits and signs, or too short to be one.
    #[error(
        "a token has at least {FEWEST} letters, digits and signs, and no blanks; make one with `openssl rand -hex 32`"
    )]
    NotToken,
    /// Not 32 bytes.
    #[error(
        "a key has 32 bytes, as 64 hexadecimal digits or in base64; make one with `openssl rand -hex 32`"
    )]
    NotKey,
    /// Too short to be one.
    #[error("it has fewer than {FEWEST} bytes; make one with `openssl rand -hex 32`")]
    Short,
    /// Others can open it.
    #[error("{}: others can open it (mode {mode:03o}); chmod 600 it", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a regular file of an owner we trust.
    #[error("{}: it is not a regular file of its own, or belongs to another user", .0.display())]
    Odd(PathBuf),
    /// What it holds cannot be used.
    #[error("{}: {source}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<SecretError>,
    },
    /// The system says no.
    #[error("{}: {doing}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What we were doing.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// No certificate, no key, or not the same one's.
    #[error("{setting}: {}: {words}", path.display())]
    Unusable {
        /// What names it.
        setting: &'static str,
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        words: String,
    },
    /// No random bytes to be had.
    #[error("the system gave no random bytes")]
    Random,
}

/// The key that signs cookies: from the variable, else from `cookie_secret_file`, else from the state directory, given
/// as a descriptor; made where it is missing.
///
/// # Errors
///
/// The one that goes first is unusable (a lower one is not tried: that would sign everybody out unseen).
pub fn cookie_secret(
    variable: Option<&OsStr>,
    hub: &sections::Hub,
    state_dir: BorrowedFd<'_>,
) -> Result<Secret<Vec<u8>>, SecretError> {
    if let Some(hex) = variable {
        return from_hex(hex.to_str().ok_or(SecretError::NotHex)?);
    }
    in_folder(&hub.cookie_secret_file, COOKIE_SECRET, state_dir, read_or_make)
}

/// The token of the proxy's REST API: from the variable, else from `proxy_auth_token_file`, else from the state directory,
/// given as a descriptor; made where it is missing. None: there is no such API.
///
/// # Errors
///
/// The one that goes first is unusable.
pub fn proxy_token(
    variable: Option<&OsStr>,
    hub: &sections::Hub,
    state_dir: BorrowedFd<'_>,
) -> Result<Option<Secret<String>>, SecretError> {
    if hub.proxy_api_port == 0 {
        return Ok(None);
    }
    if let Some(text) = variable {
        return token(text.to_str().ok_or(SecretError::NotToken)?).map(Some);
    }
    let token =
        in_folder(&hub.proxy_auth_token_file, PROXY_TOKEN, state_dir, |folder, name| match open(
            folder, name,
        )? {
            Some(file) => token(&text(file, folder, name)?).map_err(|source| {
                SecretError::Content { path: name.to_owned(), source: Box::new(source) }
            }),
            None => Ok(Secret::new(std::mem::take(&mut *to_hex(make(folder, name)?.reveal())))),
        })?;
    Ok(Some(token))
}

/// A token, if that is one; blanks at the ends do not matter.
///
/// # Errors
///
/// It is none.
pub fn token(text: &str) -> Result<Secret<String>, SecretError> {
    let token = text.trim();
    if token.len() < FEWEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SecretError::NotToken);
    }
    Ok(Secret::new(token.to_owned()))
}

/// Reads a file by its path, or the one of this name in the state directory.
fn in_folder<T>(
    named: &Path,
    usual: &str,
    state_dir: BorrowedFd<'_>,
    read: impl FnOnce(BorrowedFd<'_>, &Path) -> Result<T, SecretError>,
) -> Result<T, SecretError> {
    let Some(name) = named.file_name() else {
        return read(state_dir, Path::new(usual));
    };
    let folder = named.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = File::open(folder).map_err(failed(folder, "its folder cannot be opened"))?;
    read(folder.as_fd(), Path::new(name))
}

/// The secret in this file of an open folder; made with mode 0600 if it is missing.
///
/// # Errors
///
/// It can be opened by others, is no regular file, holds no hex, or cannot be made.
pub fn read_or_make(folder: BorrowedFd<'_>, name: &Path) -> Result<Secret<Vec<u8>>, SecretError> {
    let Some(file) = open(folder, name)? else { return make(folder, name) };
    from_hex(&text(file, folder, name)?)
        .map_err(|source| SecretError::Content { path: name.to_owned(), source: Box::new(source) })
}

/// Nothing: it is not there.
fn open(folder: BorrowedFd<'_>, name: &Path) -> Result<Option<File>, SecretError> {
    match openat(
        folder,
        name,
        OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC,
        Mode::empty(),
    ) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(nix::errno::Errno::ENOENT) => Ok(None),
        Err(nix::errno::Errno::ELOOP) => Err(SecretError::Odd(name.to_owned())),
        Err(error) => Err(failed(name, "cannot be opened")(error.into())),
    }
}

fn text(file: File, folder: BorrowedFd<'_>, name: &Path) -> Result<Zeroizing<String>, SecretError> {
    let facts = file.metadata().map_err(failed(name, "cannot be examined"))?;
    let owner = nix::sys::stat::fstat(folder)
        .map_err(|error| failed(name, "its folder cannot be examined")(error.into()))?;
    let trusted = [0, nix::unistd::geteuid().as_raw(), owner.st_uid].contains(&facts.uid());
    if !facts.is_file() || !trusted || facts.nlink() != 1 {
        return Err(SecretError::Odd(name.to_owned()));
    }
    if facts.mode() & 0o027 != 0 {
        return Err(SecretError::Open { path: name.to_owned(), mode: facts.mode() & 0o777 });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LONGEST).read_to_string(&mut text).map_err(failed(name, "cannot be read"))?;
    Ok(text)
}

/// Writes a new one beside, syncs it and renames it: a crash leaves either none or a whole one.
fn make(folder: BorrowedFd<'_>, name: &Path) -> Result<Secret<Vec<u8>>, SecretError> {
    let mut secret = vec![0; FRESH];
    SystemRandom::new().fill(&mut secret).map_err(|_| SecretError::Random)?;
    let secret = Secret::new(secret);
    let draft = name.with_extension("new");
    match unlinkat(folder, &draft, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(nix::errno::Errno::ENOENT) => {}
        Err(error) => return Err(failed(&draft, "an old draft cannot be removed")(error.into())),
    }
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(folder, &draft, flags, Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(|error| failed(name, "cannot be made")(error.into()))?;
    let mut file = File::from(file);
    let mut text = to_hex(secret.reveal());
    text.push('\n');
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed(name, "cannot be written"))?;
    renameat(folder, &draft, folder, name)
        .map_err(|error| failed(name, "cannot be put in place")(error.into()))?;
    nix::unistd::fsync(folder)
        .map_err(|error| failed(name, "its folder cannot be synced")(error.into()))?;
    Ok(secret)
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> SecretError + use<> {
    let path = path.to_owned();
    move |source| SecretError::Io { path, doing, source }
}

/// Keys for sealing, with `;` between them: each 64 hexadecimal digits, or base64 of 32 bytes.
/// (`spec/auth-and-spawn.md` 9.)
///
/// # Errors
///
/// One is something else, or there is none.
pub fn crypt_keys(text: &str) -> Result<Vec<Secret<Vec<u8>>>, SecretError> {
    let key = |text: &str| {
        let bytes = from_hex(text).ok().filter(|bytes| bytes.reveal().len() == KEY).or_else(|| {
            let engines = [STANDARD, URL_SAFE];
            let bytes = engines.iter().find_map(|engine| engine.decode(text).ok())?;
            (bytes.len() == KEY).then(|| Secret::new(bytes))
        });
        bytes.ok_or(SecretError::NotKey)
    };
    let texts = text.split(';').map(str::trim).filter(|text| !text.is_empty());
    let keys: Vec<_> = texts.map(key).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(SecretError::NotKey) } else { Ok(keys) }
}

/// Bytes from hex digits; blanks at the ends do not matter.
///
/// # Errors
///
/// Not hex, an odd number of digits, or too few.
pub fn from_hex(text: &str) -> Result<Secret<Vec<u8>>, SecretError> {
    let digits = text.trim().as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() as u64 > LONGEST {
        return Err(SecretError::NotHex);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    for pair in digits.chunks_exact(2) {
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(SecretError::NotHex),
        }
    }
    if bytes.len() < FEWEST {
        return Err(SecretError::Short);
    }
    Ok(Secret::new(std::mem::take(&mut *bytes)))
}

fn to_hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2 + 1));
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(half.into(), 16).expect("four bits are a hex digit"));
        }
    }
    text
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The chain.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Secret<Vec<u8>>,
}

/// What the public listener needs for TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Shown to whoever asks for no name, or for one that no other bears; with an empty chain: there is none in files.
    pub identity: Identity,
    /// Those for other names.
    pub others: Vec<Identity>,
    /// Who signs visitors' certificates, PEM; empty: visitors need none.
    pub client_ca: Vec<u8>,
    /// Who vouches for the server of the authority that certificates are got from, PEM; empty: whom this machine trusts.
    pub acme_ca: Vec<u8>,
}

/// Reads the public listener's TLS files; `None` where none are set.
///
/// # Errors
///
/// A file that is set cannot be read, or what it holds cannot be used.
pub fn tls(config: &Config) -> Result<Option<Tls>, SecretError> {
    let (hub, proxy) = (&config.hub, &config.proxy);
    if !config.is_tls() {
        return Ok(None);
    }
    let identity = if hub.ssl_cert.as_os_str().is_empty() {
        Identity { certificate: Vec::new(), key: Secret::new(Vec::new()) }
    } else {
        identity("hub.ssl_cert", &hub.ssl_cert, &hub.ssl_key)?
    };
    let others = proxy.certificates.iter();
    let others = others.map(|one| self::identity("proxy.certificates", &one.cert, &one.key));
    let others = others.collect::<Result<_, _>>()?;
    let client_ca = authorities("proxy.client_ca", &proxy.client_ca)?;
    let acme_ca = authorities("proxy.acme.directory_ca", &proxy.acme.directory_ca)?;
    Ok(Some(Tls { identity, others, client_ca, acme_ca }))
}

/// Reads a file of authorities; empty where none is set.
fn authorities(setting: &'static str, path: &Path) -> Result<Vec<u8>, SecretError> {
    if path.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let pem = std::fs::read(path).map_err(failed(path, "cannot be read"))?;
    match certificate::authorities(&pem) {
        Ok(_) => Ok(pem),
        Err(words) => Err(SecretError::Unusable { setting, path: path.to_owned(), words }),
    }
}

/// Reads a certificate and its key, which stands in the same file if it has no path of its own.
fn identity(setting: &'static str, cert: &Path, key: &Path) -> Result<Identity, SecretError> {
    let read = |path: &Path| std::fs::read(path).map_err(failed(path, "cannot be read"));
    let certificate = read(cert)?;
    let key =
        Secret::new(if key.as_os_str().is_empty() { certificate.clone() } else { read(key)? });
    let identity = Identity { certificate, key };
    match certificate::fits(&identity.certificate, identity.key.reveal()) {
        Ok(()) => Ok(identity),
        Err(words) => Err(SecretError::Unusable { setting, path: cert.to_owned(), words }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        let open = File::open(dir.path()).unwrap();
        (dir, open)
    }

    #[test]
    fn a_missing_secret_is_made_once_and_private() {
        let (dir, open) = folder();
        let hub = sections::Hub::default();
        let first = cookie_secret(None, &hub, open.as_fd()).unwrap();
        assert_eq!(first.reveal().len(), FRESH);
        let again = cookie_secret(None, &hub, open.as_fd()).unwrap();
        assert_eq!(first, again);
        let mode = dir.path().join(COOKIE_SECRET).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let given =
            cookie_secret(Some(OsStr::new(&"ab".repeat(1024))), &hub, open.as_fd()).unwrap();
        assert_eq!(given.reveal(), &vec![0xab; 1024]);
        let named = sections::Hub { cookie_secret_file: dir.path().join("other"), ..hub };
        assert_ne!(cookie_secret(None, &named, open.as_fd()).unwrap(), first);
        assert!(dir.path().join("other").exists());
    }

    #[test]
    fn a_secret_others_can_open_is_refused() {
        let (dir, open) = folder();
        let path = dir.path().join("s");
        std::fs::write(&path, "ab".repeat(32)).unwrap();
        for mode in [0o604, 0o602, 0o601, 0o620, 0o666] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = read_or_make(open.as_fd(), Path::new("s")).unwrap_err();
            assert!(matches!(error, SecretError::Open { .. }), "{mode:o}: {error}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_or_make(open.as_fd(), Path::new("s")).is_ok());
    }

    #[test]
    fn links_pipes_and_nonsense_are_refused_without_showing_them() {
        let (dir, open) = folder();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("plain"), "zz hunter2").unwrap();
        std::fs::set_permissions(path("plain"), std::fs::Permissions::from_mode(0o600)).unwrap();
        symlink(path("plain"), path("link")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), Mode::S_IRUSR).unwrap();
        for name in ["link", "pipe", "plain"] {
            let error = read_or_make(open.as_fd(), Path::new(name)).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{name}");
        }
        std::fs::hard_link(path("plain"), path("second")).unwrap();
        assert!(matches!(
            read_or_make(open.as_fd(), Path::new("second")),
            Err(SecretError::Odd(_))
        ));
    }

    #[test]
    fn keys_are_read_in_their_order() {
        let (hex, base64) = ("ab".repeat(32), STANDARD.encode([7; 32]));
        let keys = crypt_keys(&format!(" {hex}; {base64};")).unwrap();
        assert_eq!(keys[0].reveal(), &vec![0xab; 32]);
        assert_eq!((keys[1].reveal(), keys.len()), (&vec![7; 32], 2));
        for bad in ["", ";", "abcd", &"ab".repeat(33), &format!("{hex};x")] {
            assert!(crypt_keys(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hex_is_checked() {
        for bad in ["", "a", "zz", "abc", "ab", &"é".repeat(32), &"+1".repeat(32)] {
            assert!(from_hex(bad).is_err(), "{bad:?}");
        }
        assert_eq!(from_hex(&format!(" {}\n", "0F".repeat(16))).unwrap().reveal(), &vec![15; 16]);
    }

    #[test]
    fn a_token_is_made_or_taken() {
        let dir = tempfile::tempdir().unwrap();
        let folder = File::open(dir.path()).unwrap();
        let mut hub = sections::Hub::default();
        let read = |variable: Option<&str>, hub: &sections::Hub| {
            proxy_token(variable.map(OsStr::new), hub, folder.as_fd())
        };
        assert!(read(None, &hub).unwrap().is_none(), "there is no API");
        assert!(!dir.path().join(PROXY_TOKEN).exists());
        hub.proxy_api_port = 8001;
        let made = read(None, &hub).unwrap().unwrap();
        let kept = std::fs::read_to_string(dir.path().join(PROXY_TOKEN)).unwrap();
        assert_eq!((kept.trim(), made.reveal().len()), (&**made.reveal(), 64));
        assert_eq!(read(None, &hub).unwrap().unwrap(), made);
        let given = read(Some(" sixteen-letters+ "), &hub).unwrap().unwrap();
        assert_eq!(given.reveal(), "sixteen-letters+");
        assert!(matches!(read(Some("short"), &hub), Err(SecretError::NotToken)));
        assert!(matches!(read(Some("two words that are long"), &hub), Err(SecretError::NotToken)));
        hub.proxy_auth_token_file = dir.path().join("mine");
        std::fs::write(&hub.proxy_auth_token_file, "a-token-of-my-own\n").unwrap();
        let shown = |mode| {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&hub.proxy_auth_token_file, mode).unwrap();
            read(None, &hub)
        };
        assert_eq!(shown(0o600).unwrap().unwrap().reveal(), "a-token-of-my-own");
        let error = shown(0o604).unwrap_err().to_string();
        assert!(error.contains("others can open it") && !error.contains("own"), "{error}");
    }
}
