//! The `abide` program: command line to configuration to server.

mod cli;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use abide::clock::SystemClock;
use abide::config::Config;
use abide::selftest;
use abide::server::Server;

/// The command line, the configuration or the environment is wrong.
const EXIT_BAD_START: u8 = 2;

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let cli = cli::parse();
    let config = match cli.resolve() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    for warning in config.warnings() {
        say(format_args!("abide: warning: {warning}"));
    }
    if cli.check {
        return match write!(io::stdout(), "{}", config.to_toml()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(format_args!(
                    "abide: the configuration cannot be printed: {error}"
                ));
                ExitCode::FAILURE
            }
        };
    }
    if cli.selftest {
        return test(config);
    }
    let server = match Server::bind(config, Arc::new(SystemClock::new()), true) {
        Ok(server) => server,
        Err(error) => return refuse(&error),
    };
    for address in server.addresses() {
        say(format_args!("listening on {}", address.url()));
    }
    match server.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("abide: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn test(config: Config) -> ExitCode {
    match selftest::run(config) {
        Ok(report) => {
            let printed = write!(io::stdout(), "{report}");
            if report.is_safe() && printed.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    say(format_args!("abide: {error}"));
    ExitCode::from(EXIT_BAD_START)
}

/// Tells the person at the terminal, if there is one: `eprintln!` would panic where standard error
/// is closed.
fn say(notice: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{notice}");
}
