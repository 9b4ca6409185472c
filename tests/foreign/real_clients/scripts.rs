//! Ruby, Perl and PHP: none honours the hint. Net::HTTP reuses a connection for 2 s only, and repeats a GET
//! that was lost to a close. LWP keeps a connection for ever, checks whether it has been closed, and repeats
//! nothing. PHP's curl is libcurl: it keeps a connection for 118 s and repeats a GET.

use std::process::Command;
use std::thread;

use super::edges::{AROUND_THE_CLOSE, WITHIN_T, assert_kept};
use super::trial::{Report, T_SECS, Trial, assert_within_t, script};

/// Longer than every pause of a trial.
const KEEP_ALL_SECS: u64 = 60;

/// Pauses around the 2 s of Net::HTTP, around T, and around the close.
pub const RUBY_GAPS_MILLIS: [u64; 11] = [
    1000, 1950, 2000, 2050, 2900, 3000, 3100, 4900, 5000, 5060, 5100,
];

/// The command that runs a script beside this file. `keep_secs` of 0 means the client's default.
pub fn client(interpreter: &str, file: &str, keep_secs: u64) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(script(file)).arg(keep_secs.to_string());
    command
}

fn ruby(keep_secs: u64, gaps_millis: &[u64]) -> Report {
    let name = format!("Ruby Net::HTTP, keep_alive_timeout {keep_secs} s (0: default)");
    let program = client("ruby", "ruby.rb", keep_secs);
    Trial::of(&name).gaps(gaps_millis).run(program)
}

/// With its default limit, or T, the client is never too late. With a longer one it repeats requests.
#[test]
#[ignore = "needs ruby"]
fn ruby_net_http_loses_nothing() {
    thread::scope(|scope| {
        scope.spawn(|| assert_kept(&ruby(0, &RUBY_GAPS_MILLIS)));
        scope.spawn(|| assert_kept(&ruby(T_SECS, &AROUND_THE_CLOSE)));
        scope.spawn(|| ruby(KEEP_ALL_SECS, &AROUND_THE_CLOSE).assert_nothing_lost());
    });
}

/// LWP::ConnCache can drop connections of a given age if the application asks for it. LWP itself never
/// does.
#[test]
#[ignore = "needs perl and LWP"]
fn perl_lwp_loses_nothing_within_t() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let trial = Trial::of("Perl LWP, connections of more than 3 s dropped");
            let program = client("perl", "perl.pl", T_SECS);
            assert_kept(&trial.gaps(&AROUND_THE_CLOSE).run(program));
        });
        assert_within_t("Perl LWP", || client("perl", "perl.pl", 0));
    });
}

fn php(keep_secs: u64, gaps_millis: &[u64]) -> Report {
    let name = format!("PHP curl, CURLOPT_MAXAGE_CONN {keep_secs} s (0: default)");
    let program = client("php", "php.php", keep_secs);
    Trial::of(&name).gaps(gaps_millis).run(program)
}

#[test]
#[ignore = "needs php and its curl"]
fn php_curl_loses_nothing() {
    thread::scope(|scope| {
        scope.spawn(|| assert_kept(&php(0, &WITHIN_T)));
        scope.spawn(|| assert_kept(&php(T_SECS, &AROUND_THE_CLOSE)));
        scope.spawn(|| php(0, &AROUND_THE_CLOSE).assert_nothing_lost());
    });
}
