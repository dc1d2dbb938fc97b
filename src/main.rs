//! One binary, four roles: the first argument says which. No thread exists before the choice is made. `proxy` is no role
//! but a program of its own, whose arguments are configurable-http-proxy's.

use std::{env, process::ExitCode};

use jovis::cli::{self, Outcome};

fn main() -> ExitCode {
    let role = env::args_os().nth(1);
    match role.as_deref().and_then(|role| role.to_str()) {
        Some("@hub") => jovis::hub::main(),
        Some("@proxy") => jovis::proxy::main(),
        Some("@helper") => jovis::helper::main(),
        Some("@account") => jovis::helper::account::main(),
        Some("proxy") => jovis::proxy::alone(env::args_os().skip(1)),
        Some("@trial") => jovis::hub::trial(),
        _ => jovis::resumed().unwrap_or_else(|| match cli::main(env::args_os()) {
            Outcome::Run(effective) => jovis::run(*effective),
            Outcome::Exit(code) => ExitCode::from(code),
        }),
    }
}
