//! curl: it keeps connections for 118 s whatever the hint is, and repeats a GET on a new connection if a
//! reused one turns out to be closed.

use std::process::Command;
use std::thread;
use std::time::Duration;

use super::trial::{Load, Outcome, Program, STAGGER_MILLIS, Trial, version};

/// One process for each lane, since a process has one `--rate` for all its transfers, which share a
/// connection. So all pauses of a lane have the same length.
pub fn curl(load: &Load) -> Outcome {
    let mut lanes = Vec::new();
    for lane in 0..load.lanes {
        let gap_millis = load.gaps_millis[lane % load.gaps_millis.len()];
        // The rate counts starts of transfers, in whole numbers per hour.
        let rate = format!("{}/h", 3_600_000 / gap_millis);
        let mut command = Command::new("curl");
        command.args(["--disable", "--silent", "--show-error", "--noproxy", "*"]);
        command.args(["--max-time", "20", "--rate", &rate]);
        if let Some(authority) = &load.authority {
            command.arg("--cacert").arg(authority);
        }
        command.args(["--write-out", "|%{http_code}|%{errormsg}\n"]);
        command.args(vec![&load.urls[lane % load.urls.len()]; load.requests]);
        lanes.push(Program::start(&mut command));
        thread::sleep(Duration::from_millis(STAGGER_MILLIS));
    }
    let version = version("curl", "--version");
    let mut outcome = Outcome {
        // The version is followed by the build options in parentheses.
        version: version.split(" (").next().unwrap_or_default().to_owned(),
        ..Outcome::default()
    };
    for lane in lanes {
        let (_, printed, _) = lane.ended(load.limit());
        for line in printed.lines() {
            let answered = line == format!("{}|200|", load.body);
            outcome.add(answered.then_some(()).ok_or_else(|| line.to_owned()));
        }
    }
    outcome
}

#[test]
#[ignore = "needs curl"]
fn curl_loses_nothing() {
    let gaps = [
        1000, 2900, 3000, 3100, 4800, 4950, 5000, 5050, 5100, 5150, 5200, 5300,
    ];
    let report = Trial::of("curl").gaps(&gaps).run_with(curl);
    report.assert_nothing_lost();
    // At least one connection for each process whose pauses are below T.
    assert!(report.reused() > 300, "{report}");
}
