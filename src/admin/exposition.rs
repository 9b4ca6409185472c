//! Writes metrics in the text format of Prometheus (version 0.0.4) or in OpenMetrics (version 1.0.0).
//!
//! The two differ in few places. OpenMetrics names a counter without the `_total` of its sample, has units and
//! the type `info`, and ends with `# EOF`.

use std::fmt::{Display, Write};

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; the samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulated counts by upper bound.
    Histogram,
    /// Constant labels; the sample ends in `_info` and has the value 1.
    Info,
}

/// Label names and values. The names need no escapes, and the values get theirs.
pub type Labels<'l> = &'l [(&'l str, &'l str)];

/// A text of metrics under construction.
#[derive(Debug)]
pub struct Exposition {
    out: String,
    is_open_metrics: bool,
    family: &'static str,
    kind: Kind,
}

impl Exposition {
    /// An empty text in OpenMetrics or in the text format.
    #[must_use]
    pub fn new(is_open_metrics: bool) -> Exposition {
        Exposition {
            out: String::new(),
            is_open_metrics,
            family: "",
            kind: Kind::Gauge,
        }
    }

    /// Begins a family. `name` has no suffix of its kind, and ends in its unit if it has one: seconds or bytes.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        (self.family, self.kind) = (name, kind);
        let type_name = match kind {
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Info if self.is_open_metrics => "info",
            Kind::Gauge | Kind::Info => "gauge",
        };
        let suffix = if self.is_open_metrics {
            ""
        } else {
            self.suffix()
        };
        // Writing to a String cannot fail. The same holds below.
        let _ = writeln!(self.out, "# HELP {name}{suffix} {help}");
        let _ = writeln!(self.out, "# TYPE {name}{suffix} {type_name}");
        let unit = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.ends_with(unit));
        if let (Some(unit), true) = (unit, self.is_open_metrics) {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
    }

    /// Writes a sample of the family.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.write(self.suffix(), labels, None, value);
    }

    /// Writes a family without labels.
    pub fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// Writes a family without labels, or nothing if the value is not known.
    pub fn single_if_known(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &str,
        value: Option<impl Display>,
    ) {
        if let Some(value) = value {
            self.single(name, kind, help, value);
        }
    }

    /// Writes a histogram of the family: `counts` for each of `bounds`, and one more for what is above all of
    /// them. The counts are not cumulated. The bounds are written as Go and Python do, because a bound in
    /// other letters is another series: 5e-05, 0.001, 1.0.
    pub fn histogram(
        &mut self,
        labels: Labels<'_>,
        bounds: &[&str],
        counts: &[u64],
        sum: impl Display,
    ) {
        let mut cumulated = 0;
        let mut counts = counts.iter();
        for (bound, count) in bounds.iter().zip(&mut counts) {
            cumulated += count;
            self.write("_bucket", labels, Some(bound), cumulated);
        }
        cumulated += counts.sum::<u64>();
        self.write("_bucket", labels, Some("+Inf"), cumulated);
        self.write("_sum", labels, None, sum);
        self.write("_count", labels, None, cumulated);
    }

    /// The complete text.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.is_open_metrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        }
    }

    fn write(
        &mut self,
        suffix: &str,
        labels: Labels<'_>,
        bound: Option<&str>,
        value: impl Display,
    ) {
        self.out.extend([self.family, suffix]);
        let labels = labels
            .iter()
            .copied()
            .chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, text) in labels {
            self.out.push(separator);
            self.out.extend([name, "=\""]);
            self.push_escaped(text);
            self.out.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// Writes the value of a label.
    fn push_escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '"' | '\\' => self.out.extend(['\\', character]),
                '\n' => self.out.push_str("\\n"),
                _ => self.out.push(character),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(is_open_metrics: bool) -> String {
        let mut out = Exposition::new(is_open_metrics);
        out.single("a_bytes", Kind::Counter, "Sent.", 3);
        out.family("b_seconds", Kind::Histogram, "Times.");
        let bounds = ["5e-05", "0.001", "1.0"];
        out.histogram(&[("code", "2xx")], &bounds, &[1, 0, 2, 4], 9.5);
        out.family("c", Kind::Info, "Version.");
        out.sample(&[("version", "1"), ("os", "linux")], 1);
        out.finish()
    }

    #[test]
    fn values_of_labels_are_escaped() {
        let mut out = Exposition::new(false);
        out.family("a", Kind::Gauge, "Files.");
        out.sample(&[("file", "/a \"b\"\\c\nd\u{e9}")], 1);
        let text = out.finish();
        assert!(
            text.ends_with("a{file=\"/a \\\"b\\\"\\\\c\\nd\u{e9}\"} 1\n"),
            "{text}"
        );
    }

    const HISTOGRAM: &str = "b_seconds_bucket{code=\"2xx\",le=\"5e-05\"} 1\n";

    #[test]
    fn the_text_format_names_a_counter_as_its_sample() {
        let text = written(false);
        assert!(text.starts_with(
            "# HELP a_bytes_total Sent.\n# TYPE a_bytes_total counter\na_bytes_total 3\n"
        ));
        assert!(text.ends_with(
            "# HELP c_info Version.\n# TYPE c_info gauge\nc_info{version=\"1\",os=\"linux\"} 1\n"
        ));
        assert!(text.contains(HISTOGRAM), "{text}");
    }

    #[test]
    fn open_metrics_has_units_and_an_end() {
        let text = written(true);
        assert!(text.starts_with(
            "# HELP a_bytes Sent.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total 3\n"
        ));
        assert!(text.ends_with("# TYPE c info\nc_info{version=\"1\",os=\"linux\"} 1\n# EOF\n"));
        let cumulated = "b_seconds_bucket{code=\"2xx\",le=\"0.001\"} 1\n\
            b_seconds_bucket{code=\"2xx\",le=\"1.0\"} 3\nb_seconds_bucket{code=\"2xx\",le=\"+Inf\"} 7\n\
            b_seconds_sum{code=\"2xx\"} 9.5\nb_seconds_count{code=\"2xx\"} 7\n";
        assert!(text.contains(cumulated), "{text}");
    }
}
