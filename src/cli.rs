//! The command line: reads it, loads and checks the configuration, answers what can be answered at once, and hands the
//! rest to the caller.
//!
//! Exit codes: 0 done, 64 the command line is wrong, 78 the configuration is wrong or missing, 1 anything else; those of
//! commands to a running jovis stand in `operate`.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand, error::ErrorKind};
use serde_json::{Value, json};

use crate::config::{
    Effective, Override, catalogue,
    check::{self, Finding, Severity},
    legacy,
    load::{self, DEFAULT_FILE},
    world::{Machine, World},
};

mod operate;
mod overrides;
mod status;
mod store;

/// The command line is wrong (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;
/// The configuration is wrong or missing (`EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;

/// What is to be done after the command line was read.
#[derive(Debug)]
pub enum Outcome {
    /// Run jovis with this configuration: it was loaded and checked, warnings are on standard error.
    Run(Box<Effective>),
    /// All is done or failed, and said: leave with this code.
    Exit(u8),
}

#[derive(Debug, Parser)]
#[command(
    name = "jovis",
    version,
    about = "A multi-user hub for notebook servers",
    after_help = "Without a file named, hub.ron in the working directory is read if it is there.\n\
                  Default, file, command line: the later goes before the earlier.\n\
                  Any setting can be given as --section.setting=value; --help-all lists them.",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Run the hub (as without a command).
    Run,
    /// Say everything that is wrong with the configuration, and leave.
    Check {
        /// Also what may change from one moment to the next: ports, programs, accounts.
        #[arg(long)]
        deep: bool,
    },
    /// Print the configuration as it would be used, with the source of each value; secrets are hidden.
    ShowConfig {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write all records to a new file, consistent and checked.
    Backup {
        /// The file; or a folder, where it gets a name with the time.
        to: PathBuf,
    },
    /// Put a backup in the place of the store, which is kept beside it; or check one. No hub may be running.
    Restore(store::Restore),
    /// Run a proxy alone, as configurable-http-proxy is run for a JupyterHub (jovis proxy --help). It must be the first
    /// word.
    #[command(disable_help_flag = true)]
    Proxy {
        /// Its own.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        flags: Vec<OsString>,
    },
    #[command(flatten)]
    Operate(operate::Operate),
}

#[derive(Debug, Default, Args)]
struct Options {
    /// The configuration, in RON.
    #[arg(short = 'f', long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Public address to listen on; empty: all.
    #[arg(long, value_name = "ADDRESS", global = true)]
    ip: Option<String>,
    /// Public port.
    #[arg(long, value_name = "PORT", global = true)]
    port: Option<u16>,
    /// Prefix of everything.
    #[arg(long, value_name = "PATH", global = true)]
    base_url: Option<String>,
    /// Private key of the public listener, PEM.
    #[arg(long, value_name = "FILE", global = true)]
    ssl_key: Option<String>,
    /// Certificate chain of the public listener, PEM (may hold the key too).
    #[arg(long, value_name = "FILE", global = true)]
    ssl_cert: Option<String>,
    /// Where everything lasting is kept.
    #[arg(long, value_name = "FOLDER", global = true)]
    state_dir: Option<String>,
    /// Place of a database (not built yet: see --state-dir).
    #[arg(long, value_name = "PLACE", global = true)]
    db: Option<String>,
    /// error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
    /// The same as --log-level debug.
    #[arg(long, conflicts_with = "log_level", global = true)]
    debug: bool,
    /// Started through a rule of sudo: refuse whatever others than root could change.
    #[arg(long, global = true)]
    guarded: bool,
    /// Write a configuration with every setting at its default to FILE (-f; `-`: standard output).
    #[arg(long)]
    generate_config: bool,
    /// Overwrite an existing file without asking.
    #[arg(short = 'y')]
    yes: bool,
    /// Every setting of the configuration with type and default.
    #[arg(long)]
    help_all: bool,
}

impl Options {
    /// What goes over the file.
    fn overrides(&self) -> Vec<Override> {
        let text = |given: &Option<String>| given.clone().map(Value::from);
        let level = if self.debug { Some(json!("debug")) } else { text(&self.log_level) };
        let level_option = if self.debug { "--debug" } else { "--log-level" };
        [
            ("hub.ip", "--ip", text(&self.ip)),
            ("hub.port", "--port", self.port.map(Value::from)),
            ("hub.base_url", "--base-url", text(&self.base_url)),
            ("hub.ssl_key", "--ssl-key", text(&self.ssl_key)),
            ("hub.ssl_cert", "--ssl-cert", text(&self.ssl_cert)),
            ("hub.state_dir", "--state-dir", text(&self.state_dir)),
            ("hub.db_url", "--db", text(&self.db)),
            ("log.level", level_option, level),
        ]
        .into_iter()
        .filter_map(|(path, option, value)| Some(Override { path, option, value: value? }))
        .collect()
    }
}

/// Does what the command line says, up to running. The first argument is the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> Outcome {
    run(args, &Machine, &mut io::stdout().lock(), &mut io::stderr().lock())
}

/// As [`main`], with the machine and both outputs given. Output that cannot be written is nobody's to be told.
fn run(
    args: impl Iterator<Item = OsString>,
    world: &dyn World,
    out: &mut dyn io::Write,
    err: &mut dyn io::Write,
) -> Outcome {
    let (args, given) = match overrides::take(args) {
        Ok(parts) => parts,
        Err(words) => {
            let _ = writeln!(err, "jovis: {words}");
            return Outcome::Exit(EXIT_USAGE);
        }
    };
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = if asked { write!(out, "{error}") } else { write!(err, "{error}") };
            return Outcome::Exit(if asked { 0 } else { EXIT_USAGE });
        }
    };
    let options = &cli.options;
    if options.help_all {
        let _ = out.write_all(catalogue::help().as_bytes());
        return Outcome::Exit(0);
    }
    if options.generate_config {
        return Outcome::Exit(generate(options, out, err));
    }
    if let Some(Command::Proxy { flags: _ }) = &cli.command {
        let _ = writeln!(err, "jovis: proxy takes flags of its own: write `jovis proxy …`");
        return Outcome::Exit(EXIT_USAGE);
    }
    let loaded = configuration(options, given);
    if let Some(Command::Operate(operate)) = &cli.command {
        return Outcome::Exit(operate::run(operate, options.config.as_deref(), loaded, out, err));
    }
    let effective = match loaded {
        Ok(effective) => effective,
        Err(words) => {
            let _ = writeln!(err, "{}", words.trim_end());
            return Outcome::Exit(EXIT_CONFIG);
        }
    };
    match cli.command.unwrap_or(Command::Run) {
        Command::ShowConfig { json } => {
            let _ = out.write_all(shown(&effective, json).as_bytes());
            Outcome::Exit(0)
        }
        Command::Check { deep } => {
            let mut findings = check::check(&effective, world);
            if deep {
                findings.extend(check::deep(&effective, world));
            }
            tell(out, &findings, &effective);
            if check::is_fatal(&findings) {
                return Outcome::Exit(EXIT_CONFIG);
            }
            let _ = writeln!(out, "{}: nothing keeps jovis from starting", name(&effective));
            Outcome::Exit(0)
        }
        Command::Backup { to } => Outcome::Exit(operate::backup(&effective.config, &to, out, err)),
        Command::Restore(what) => {
            let outcome = store::restore(&effective.config, &what, out);
            Outcome::Exit(store::told(outcome, err))
        }
        Command::Operate(_) | Command::Proxy { .. } => unreachable!("done above"),
        Command::Run => {
            let mut findings = check::check(&effective, world);
            if check::is_fatal(&findings) {
                tell(err, &findings, &effective);
                return Outcome::Exit(EXIT_CONFIG);
            }
            findings.retain(|one| one.severity != Severity::Notice);
            tell(err, &findings, &effective);
            Outcome::Run(Box::new(effective))
        }
    }
}

fn name(effective: &Effective) -> String {
    effective
        .file
        .as_ref()
        .map_or_else(|| "no file, all defaults".to_owned(), |file| file.display().to_string())
}

fn tell(to: &mut dyn io::Write, findings: &[Finding], effective: &Effective) {
    for one in findings {
        let _ = match (&effective.file, effective.place(&one.path)) {
            (Some(file), Some(at)) => write!(to, "{}:{}:{}: ", file.display(), at.line, at.column)
                .and_then(|()| writeln!(to, "{one}")),
            _ => writeln!(to, "jovis: {one}"),
        };
    }
}

fn configuration(options: &Options, given: Vec<Override>) -> Result<Effective, String> {
    let file = options.config.as_deref();
    if let Some(python) = file.filter(|path| path.extension().is_some_and(|end| end == "py")) {
        let bytes = fs::read(python).map_err(|error| format!("{}: {error}", python.display()))?;
        return Err(legacy::explain(
            &python.display().to_string(),
            &String::from_utf8_lossy(&bytes),
        ));
    }
    let overrides: Vec<_> = options.overrides().into_iter().chain(given).collect();
    let effective = load::load(file, &overrides).map_err(|error| error.to_string())?;
    Ok(Effective { guarded: options.guarded, ..effective })
}

fn shown(effective: &Effective, as_json: bool) -> String {
    if !as_json {
        let remark = |path: &str| Some(effective.source(path).to_string());
        let style = catalogue::Style { comments: false, masked: true, remark: &remark };
        return format!("// {}\n{}", name(effective), catalogue::render(&effective.config, &style));
    }
    let mut values = serde_json::to_value(&effective.config).expect("sections are plain data");
    let mut sources = serde_json::Map::new();
    for one in catalogue::settings() {
        if values.pointer(&format!("/{}", one.path.replace('.', "/"))).is_some() {
            sources.insert(one.path.clone(), json!(effective.source(&one.path).to_string()));
        }
    }
    catalogue::mask(&mut values);
    let text = serde_json::to_string_pretty(&json!({ "config": values, "sources": sources }));
    text.expect("a value is written as it is") + "\n"
}

/// Writes the default configuration; returns the exit code.
fn generate(options: &Options, out: &mut dyn io::Write, err: &mut dyn io::Write) -> u8 {
    let path = options.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    let text = catalogue::default_file();
    if path == Path::new("-") {
        return out.write_all(text.as_bytes()).map_or(1, |()| 0);
    }
    if path.exists() && !options.yes && !agreed(path, err) {
        let _ = writeln!(
            err,
            "jovis: {} is there already and stays as it is (-y overwrites it)",
            path.display()
        );
        return 1;
    }
    match fs::write(path, text) {
        Ok(()) => {
            let _ = writeln!(out, "{}: written", path.display());
            0
        }
        Err(error) => {
            let _ = writeln!(err, "jovis: {}: {error}", path.display());
            1
        }
    }
}

/// Asks, where there is somebody to ask.
fn agreed(path: &Path, err: &mut dyn io::Write) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    let _ = write!(err, "Overwrite {}? [y/N] ", path.display());
    let _ = err.flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Said {
        outcome: Outcome,
        out: String,
        err: String,
    }

    fn jovis(args: &[&str]) -> Said {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = std::iter::once("jovis").chain(args.iter().copied()).map(OsString::from);
        let outcome = run(args, &Machine, &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { outcome, out: text(out), err: text(err) }
    }

    fn code(said: &Said) -> u8 {
        match said.outcome {
            Outcome::Exit(code) => code,
            Outcome::Run(_) => panic!("it would run: {}", said.err),
        }
    }

    fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        (dir, path.to_str().unwrap().to_owned())
    }

    #[test]
    fn options_name_settings_that_exist() {
        let text = Some("1".to_owned());
        let all = Options {
            ip: text.clone(),
            port: Some(1),
            base_url: text.clone(),
            ssl_key: text.clone(),
            ssl_cert: text.clone(),
            state_dir: text.clone(),
            db: text.clone(),
            log_level: text,
            ..Options::default()
        };
        let overrides = all.overrides();
        assert_eq!(overrides.len(), 8);
        for one in overrides {
            assert!(catalogue::setting(one.path).is_some(), "{}", one.path);
        }
    }

    #[test]
    fn both_forms_of_an_option_reach_the_configuration() {
        let (dir, path) = file(
            "hub.ron",
            "(auth: (class: Dummy()), root: (hub_user: \"nobody\", proxy_user: \"daemon\"))",
        );
        let state = dir.path().to_str().unwrap();
        let said = jovis(&[
            "-f",
            &path,
            "--ip",
            "127.0.0.1",
            "--port=8123",
            "--debug",
            "--state-dir",
            state,
        ]);
        let Outcome::Run(effective) = &said.outcome else { panic!("{}", said.err) };
        let config = &effective.config;
        assert_eq!(
            (config.hub.ip.as_str(), config.hub.port, config.log.level.as_str()),
            ("127.0.0.1", 8123, "debug")
        );
    }

    #[test]
    fn options_of_jupyterhub_are_taken_or_refused() {
        let (_dir, path) = file("hub.ron", "()");
        let said =
            jovis(&["show-config", "-f", &path, "--base-url", "/lab/x/", "--log-level=warn"]);
        for line in [
            "base_url: \"/lab/x/\", // command line, --base-url",
            "level: \"warn\", // command line, --log-level",
        ] {
            assert!(said.out.contains(line), "{line}: {}", said.out);
        }
        for gone in
            ["--no-db", "--upgrade-db", "--show-config", "--pid-file=x", "--url=http://:8000"]
        {
            assert_eq!(code(&jovis(&["-f", &path, gone])), EXIT_USAGE, "{gone}");
        }
        for gone in ["token", "upgrade-db"] {
            assert_eq!(code(&jovis(&[gone, "-f", &path])), EXIT_USAGE, "{gone}");
        }
    }

    #[test]
    fn certificate_and_key_can_be_given() {
        let (dir, path) = file("hub.ron", "()");
        let (cert, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        let said = jovis(&[
            "show-config",
            "-f",
            &path,
            "--ssl-cert",
            cert.to_str().unwrap(),
            &format!("--ssl-key={}", key.display()),
        ]);
        let line = |name: &str, file: &Path, option: &str| {
            format!("{name}: \"{}\", // command line, {option}", file.display())
        };
        assert!(said.out.contains(&line("ssl_cert", &cert, "--ssl-cert")), "{}", said.out);
        assert!(said.out.contains(&line("ssl_key", &key, "--ssl-key")), "{}", said.out);
    }

    #[test]
    fn wrong_usage_and_wrong_configuration_have_codes_of_their_own() {
        assert_eq!(code(&jovis(&["--prot", "1"])), EXIT_USAGE);
        assert_eq!(code(&jovis(&["--port", "70000"])), EXIT_USAGE);
        assert_eq!(code(&jovis(&["nonsense"])), EXIT_USAGE);
        assert_eq!(code(&jovis(&["-f", "/nonexistent/hub.ron"])), EXIT_CONFIG);
        let (_dir, path) = file("hub.ron", "(hub: (port: 0), spawner: (cmd: []))");
        let said = jovis(&["-f", &path]);
        assert_eq!(code(&said), EXIT_CONFIG);
        assert!(said.err.contains("hub.port") && said.err.contains("spawner.cmd"), "{}", said.err);
        assert_eq!(code(&jovis(&["check", "-f", &path])), EXIT_CONFIG);
        assert_eq!(code(&jovis(&["--help"])), 0);
        assert_eq!(code(&jovis(&["--version"])), 0);
    }

    #[test]
    fn a_server_without_tls_is_warned_about() {
        let (_dir, path) = file("hub.ron", "()");
        let said = jovis(&["-f", &path, "check"]);
        assert!(said.out.contains("no TLS"), "{}", said.out);
    }

    #[test]
    fn a_python_file_is_explained() {
        let (_dir, path) = file("jupyterhub_config.py", "c.JupyterHub.port = 443\nc.Foo.bar = 1\n");
        let said = jovis(&["-f", &path]);
        assert_eq!(code(&said), EXIT_CONFIG);
        assert!(
            said.err.contains("-> hub.port") && said.err.contains("no place here"),
            "{}",
            said.err
        );
    }

    #[test]
    fn show_config_hides_secrets_and_names_sources() {
        let (_dir, path) = file("hub.ron", "(auth: (class: Dummy(password: \"hunter2\")))");
        for args in [
            &["show-config", "-f", &path][..],
            &["show-config", "--json", "-f", &path, "--port", "81"],
        ] {
            let said = jovis(args);
            assert_eq!(code(&said), 0);
            assert!(!said.out.contains("hunter2"), "{}", said.out);
            assert!(said.out.contains("file, 1:"), "{}", said.out);
        }
        assert!(
            jovis(&["show-config", "-f", &path, "--port", "81"])
                .out
                .contains("port: 81, // command line, --port")
        );
    }

    #[test]
    fn a_generated_file_is_not_overwritten_unasked() {
        let (_dir, path) = file("hub.ron", "mine");
        assert_eq!(code(&jovis(&["--generate-config", "-f", &path])), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(code(&jovis(&["--generate-config", "-y", "-f", &path])), 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), catalogue::default_file());
        assert_eq!(code(&jovis(&["--generate-config", "-f", "-"])), 0);
    }

    #[test]
    fn help_all_names_every_setting() {
        let said = jovis(&["--help-all"]);
        for one in catalogue::settings() {
            assert!(said.out.contains(&format!("{} (", one.path)), "{}", one.path);
        }
    }
}
