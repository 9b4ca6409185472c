//! Complete lines in each format.

use super::*;
use crate::connection::access_log::timestamp::LogTimestamp;
use crate::http::date::http_date;

const UNIX_SECS: u64 = 784_111_777;

fn example() -> LogLine<'static> {
    LogLine {
        request: LoggedRequest {
            client: Peer::Ip("192.0.2.7".parse().expect("address")),
            request_line: b"GET /a HTTP/1.1",
            host: Some(b"example.org:8080"),
            referer: Some(b"https://example.org/"),
            user_agent: Some(b"Mozilla/5.0 (X11)"),
        },
        connection: ConnectionId {
            event_loop: 0,
            slot: 12,
            generation: 3,
        },
        number: 2,
        arrival: Arrival {
            since: None,
            idle_millis: 840,
        },
        status: Status::OK,
    }
}

const WHOLE: LineEnd = LineEnd {
    body_bytes: 512,
    duration_micros: 95,
    close: None,
};

fn line(line: &LogLine<'_>, ending: &LineEnd, format: AccessLogFormat, host: bool) -> String {
    let config = AccessLogConfig {
        target: None,
        format,
        host,
    };
    let mut timestamp = LogTimestamp::new(format);
    let time = timestamp.at(UNIX_SECS, http_date(UNIX_SECS).as_bytes());
    let (mut begun, mut out) = (Vec::new(), Vec::new());
    let bytes_at = begin(line, time, &config, &mut begun);
    let start = LineStart {
        text: &begun,
        bytes_at,
    };
    complete(&start, ending, format, &mut out);
    String::from_utf8(out).expect("ASCII")
}

const COMMON: &str = "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /a HTTP/1.1\" 200 512";
const COMBINED: &str = " \"https://example.org/\" \"Mozilla/5.0 (X11)\"";
const EXTENDED: &str = " connection=0.12.3 number=2 idle_ms=840 duration_us=95 close=-";

#[test]
fn each_text_format_extends_the_one_before() {
    let of = |format, host| line(&example(), &WHOLE, format, host);
    assert_eq!(of(AccessLogFormat::Common, false), format!("{COMMON}\n"));
    assert_eq!(
        of(AccessLogFormat::Combined, false),
        format!("{COMMON}{COMBINED}\n")
    );
    assert_eq!(
        of(AccessLogFormat::Extended, false),
        format!("{COMMON}{COMBINED}{EXTENDED}\n")
    );
    assert_eq!(
        of(AccessLogFormat::Combined, true),
        format!("example.org:8080 {COMMON}{COMBINED}\n")
    );
}

#[test]
fn json_is_an_object() {
    let start = r#"{"time":"1994-11-06T08:49:37Z","client":"192.0.2.7""#;
    let host = r#","host":"example.org:8080""#;
    let rest = concat!(
        r#","request":"GET /a HTTP/1.1","referer":"https://example.org/","#,
        r#""user_agent":"Mozilla/5.0 (X11)","connection":"0.12.3","number":2,"idle_ms":840,"#,
        r#""status":200,"bytes":512,"duration_us":95,"close":null}"#
    );
    let of = |host| line(&example(), &WHOLE, AccessLogFormat::Json, host);
    assert_eq!(of(false), format!("{start}{rest}\n"));
    assert_eq!(of(true), format!("{start}{host}{rest}\n"));
}

#[test]
fn what_is_missing_is_a_dash_or_null() {
    let bare = LogLine {
        request: LoggedRequest {
            user_agent: Some(b""),
            ..LoggedRequest::first_line(Peer::Unix, b"")
        },
        number: 0,
        ..example()
    };
    let ending = LineEnd {
        body_bytes: 0,
        duration_micros: 0,
        close: Some(CloseReason::Refused),
    };
    assert_eq!(
        line(&bare, &ending, AccessLogFormat::Extended, true),
        "- unix: - - [06/Nov/1994:08:49:37 +0000] \"-\" 200 - \"-\" \"-\" \
         connection=0.12.3 number=0 idle_ms=840 duration_us=0 close=refused\n"
    );
    let json = line(&bare, &ending, AccessLogFormat::Json, true);
    for member in [
        r#""client":"unix:","host":null,"request":null,"referer":null,"user_agent":"""#,
        r#""bytes":0,"#,
        r#""close":"refused"}"#,
    ] {
        assert!(json.contains(member), "{member}: {json}");
    }
}

#[test]
fn an_address_is_written_as_usual() {
    for address in ["0.0.0.0", "255.10.1.99", "2001:db8::1", "::"] {
        let peer = Peer::Ip(address.parse().expect("address"));
        let mut out = Vec::new();
        push_peer(peer, &mut out);
        assert_eq!(out, address.as_bytes());
    }
    let id = example().connection;
    let mut out = Vec::new();
    push_id(id, &mut out);
    assert_eq!(out, id.to_string().as_bytes());
}

#[test]
fn nothing_that_a_client_sends_forges_a_line() {
    let evil = b"x\"\r\n\x1b[2J\\ \xff close=idle";
    let forged = LogLine {
        request: LoggedRequest {
            request_line: evil,
            host: Some(evil),
            referer: Some(evil),
            user_agent: Some(evil),
            ..example().request
        },
        ..example()
    };
    for host in [false, true] {
        let text = line(&forged, &WHOLE, AccessLogFormat::Extended, host);
        let escaped = r#"x\"\x0d\x0a\x1b[2J\\ \xff close=idle"#;
        assert_eq!(
            text.matches(escaped).count(),
            3 + usize::from(host),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
        let json = line(&forged, &WHOLE, AccessLogFormat::Json, host);
        assert_eq!(json.lines().count(), 1);
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read["user_agent"], String::from_utf8_lossy(evil).as_ref());
        assert_eq!(read["close"], serde_json::Value::Null);
    }
}
