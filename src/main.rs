//! The `abide` program: command line to configuration to server.

mod cli;

use std::process::ExitCode;
use std::sync::Arc;

use abide::clock::SystemClock;
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
        eprintln!("abide: warning: {warning}");
    }
    if cli.check {
        print!("{}", config.to_toml());
        return ExitCode::SUCCESS;
    }
    let server = match Server::bind(config, Arc::new(SystemClock::new()), true) {
        Ok(server) => server,
        Err(error) => return refuse(&error),
    };
    for address in server.addresses() {
        eprintln!("listening on {}", address.url());
    }
    match server.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("abide: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("abide: {error}");
    ExitCode::from(EXIT_BAD_START)
}
