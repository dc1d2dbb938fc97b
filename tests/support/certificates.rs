//! An authority of one test with a server's and a client's certificate, made by OpenSSL.

use std::{path::Path, process::Command};

/// Writes `ca.pem`, `server.pem`, `server-key.pem`, `cert.pem`, `key.pem` and, of another authority, `other-ca.pem`.
pub(super) fn make(folder: &Path) {
    let make = |name: &str, key: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command.args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")]);
        command.args(["-keyout", key, "-out", &format!("{name}.pem")]).args(more);
        let made = command.current_dir(folder).output().expect("openssl is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    make("ca", "ca-key.pem", &[]);
    make("other-ca", "other-ca-key.pem", &[]);
    let by =
        ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-addext", "basicConstraints=critical,CA:FALSE"];
    let server =
        ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "extendedKeyUsage=serverAuth"];
    make("server", "server-key.pem", &[&by[..], &server[..]].concat());
    make("cert", "key.pem", &[&by[..], &["-addext", "extendedKeyUsage=clientAuth"]].concat());
}
