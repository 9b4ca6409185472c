//! One case of the checklist, and the format of its file.
//!
//! ```toml
//! [[case]]
//! name = "a bare LF ends no line"               # unique over all files
//! rfc = "9112 2.2"                              # RFC and section
//! send = 'GET / HTTP/1.1\nHost: a\r\n\r\n'      # or a list of strings that are joined
//! status = 400                                  # or a list, one for each answer; [] for none
//! connection = "close"
//!
//! # May be left out:
//! methods = ["GET", "HEAD"]                     # one for each answer; default: the first word of `send`
//! eof = true                                    # the client half-closes after sending
//! whole = true                                  # only sent whole: the client must not send the rest later
//! # Of the last answer:
//! fields = ["Allow: GET, HEAD, OPTIONS"]        # lines that it must have
//! absent = ["ETag"]                             # fields that it must not have
//! body = 'text'                                 # its content
//! body_contains = 'text'                        # something in its content
//! parts = ['bytes 0-1/100: 01']                 # the parts of a multipart/byteranges
//! ```
//!
//! `notation.rs` describes how bytes are written. `connection` is one of
//!
//! - `close`: the answer says so, and the server's FIN follows;
//! - `persists`: the answer says so, and another request on the connection is answered;
//! - `ends`: the server's FIN follows, whatever the last answer says.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

/// One or more requests, and the expected answers.
#[derive(Debug)]
pub struct Case {
    /// The name of the file that holds the case.
    pub file: String,
    pub name: String,
    pub rfc: String,
    /// In the notation of `notation.rs`, like all texts below.
    pub send: String,
    pub statuses: Vec<u16>,
    pub methods: Vec<String>,
    pub connection: Connection,
    pub eof: bool,
    pub whole: bool,
    pub fields: Vec<String>,
    pub absent: Vec<String>,
    pub body: Option<String>,
    pub body_contains: Option<String>,
    pub parts: Vec<String>,
}

/// The state of the connection after the last response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    Close,
    Persists,
    Ends,
}

impl Case {
    /// The case's file and name.
    pub fn place(&self) -> String {
        format!("{}: \"{}\"", self.file, self.name)
    }

    /// Whether the answer at `index` is to a HEAD request, and therefore has no body.
    pub fn is_head(&self, index: usize) -> bool {
        match self.methods.get(index) {
            Some(method) => method == "HEAD",
            None => self.statuses.len() == 1 && first_word(&self.send) == "HEAD",
        }
    }
}

fn first_word(send: &str) -> &str {
    let line = send.trim_start_matches("\\r\\n");
    line.split(' ').next().unwrap_or("")
}

/// Every case, file by file.
pub fn load_all() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .expect("the directory of cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths.iter().flat_map(|path| load(path)).collect()
}

fn load(path: &Path) -> Vec<Case> {
    let file = path.file_name().and_then(|name| name.to_str());
    let file = file.expect("a plain file name");
    let text = fs::read_to_string(path).expect("a file of cases");
    let mut table: Table = text.parse().unwrap_or_else(|why| panic!("{file}: {why}"));
    let Some(Value::Array(cases)) = table.remove("case") else {
        panic!("{file}: no [[case]]");
    };
    assert!(table.is_empty(), "{file}: something beside [[case]]");
    cases
        .into_iter()
        .map(|case| {
            let shown = case.get("name").map_or("?".to_owned(), Value::to_string);
            read(file, case).unwrap_or_else(|why| panic!("{file}: {shown}: {why}"))
        })
        .collect()
}

fn read(file: &str, case: Value) -> Result<Case, String> {
    let Value::Table(mut table) = case else {
        return Err("not a table".to_owned());
    };
    let mut take = |key: &str| table.remove(key);
    let case = Case {
        file: file.to_owned(),
        name: text(take("name"))?.ok_or("no name")?,
        rfc: text(take("rfc"))?.ok_or("no rfc")?,
        send: texts(take("send"))?.concat(),
        statuses: statuses(take("status").ok_or("no status")?)?,
        methods: texts(take("methods"))?,
        connection: match text(take("connection"))?.as_deref() {
            Some("close") => Connection::Close,
            Some("persists") => Connection::Persists,
            Some("ends") => Connection::Ends,
            other => return Err(format!("connection = {other:?}")),
        },
        eof: take("eof").is_some_and(|value| value == Value::Boolean(true)),
        whole: take("whole").is_some_and(|value| value == Value::Boolean(true)),
        fields: texts(take("fields"))?,
        absent: texts(take("absent"))?,
        body: text(take("body"))?,
        body_contains: text(take("body_contains"))?,
        parts: texts(take("parts"))?,
    };
    let answers = case.statuses.len();
    if answers > 1 && case.methods.is_empty() && case.send.contains("HEAD ") {
        return Err("HEAD among several requests needs `methods`".to_owned());
    }
    if !case.methods.is_empty() && case.methods.len() != answers {
        return Err("`methods` and `status` differ in length".to_owned());
    }
    match table.keys().next() {
        Some(key) => Err(format!("unknown key {key}")),
        None => Ok(case),
    }
}

fn text(value: Option<Value>) -> Result<Option<String>, String> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{other} is not a string")),
    }
}

/// A string or a list of them.
fn texts(value: Option<Value>) -> Result<Vec<String>, String> {
    match value {
        Some(Value::Array(values)) => values
            .into_iter()
            .map(|value| text(Some(value)).map(Option::unwrap_or_default))
            .collect(),
        one => Ok(text(one)?.into_iter().collect()),
    }
}

fn statuses(value: Value) -> Result<Vec<u16>, String> {
    let values = match value {
        Value::Array(values) => values,
        one => vec![one],
    };
    values
        .into_iter()
        .map(|value| {
            let status = value.as_integer().and_then(|code| u16::try_from(code).ok());
            status.ok_or_else(|| format!("{value} is not a status"))
        })
        .collect()
}
