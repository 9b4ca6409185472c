//! The rules of a site: `[[header]]`, `[[redirect]]`, `[[rewrite]]` and `[[spa]]`.

use std::fmt::Display;
use std::str::FromStr;

use super::page::page;
use super::rule_table::RuleTable;
use super::value::{Value, ValueData};
use crate::config::rules::{
    FieldName, FieldValue, HeaderRule, REDIRECT_STATUS_DEFAULT, REDIRECT_STATUSES, Redirect,
    Rewrite, WITHDRAWN_STATUSES,
};
use crate::config::{MediaRange, PathTemplate, Pattern, SinglePageApp, Statuses, UriTemplate};

/// The meaning of the key `path` or `from` of a rule.
const PATHS: &str = "a pattern of paths, as in \"/old/**\"";

/// Reads a table of `[[header]]`. Like the functions below, it returns `None` if the table has errors.
pub(super) fn header(table: &mut RuleTable<'_>) -> Option<HeaderRule> {
    table.check_keys(&["path", "set", "unset", "status", "type"]);
    let path = table.required("path", PATHS, str::parse);
    let meaning = "a list of field names, as in [\"ETag\"]";
    let rule = HeaderRule {
        path: path.unwrap_or_else(Pattern::everything),
        status: statuses(table),
        types: media_ranges(table),
        set: fields_to_set(table),
        unset: table.list("unset", meaning, FieldName::to_unset),
    };
    if !table.errors.is_empty() {
        return None;
    }
    if rule.set.is_empty() && rule.unset.is_empty() {
        table.report("it changes nothing: add set = { Name = \"value\" } or unset = [\"Name\"]");
        return None;
    }
    if let Some((name, _)) = rule.set.iter().find(|(name, _)| rule.unset.contains(name)) {
        table.report(format!("{name} cannot be both set and left out"));
        return None;
    }
    Some(rule)
}

/// Reads a table of `[[redirect]]`.
pub(super) fn redirect(table: &mut RuleTable<'_>) -> Option<Redirect> {
    table.check_keys(&["from", "to", "status"]);
    let from = table.required("from", PATHS, str::parse);
    let status = redirect_status(table)?;
    let to = if WITHDRAWN_STATUSES.contains(&status) {
        if let Some(to) = table.find("to") {
            let message = format!(
                "an answer with status {status} leads nowhere: leave the target out, or set the \
                 status to 301, 302, 303, 307 or 308"
            );
            table.report_key("to", &to.source, message);
        }
        None
    } else {
        let meaning = "the path or URI where the documents are now; for a path that is gone write \
                       status = 410 and no target";
        target(table, meaning, from.as_ref(), UriTemplate::parse)
    };
    let from = from.filter(|_| table.errors.is_empty())?;
    Some(Redirect { from, to, status })
}

/// Reads a table of `[[rewrite]]`.
pub(super) fn rewrite(table: &mut RuleTable<'_>) -> Option<Rewrite> {
    table.check_keys(&["from", "to"]);
    let from = table.required("from", PATHS, str::parse);
    let meaning = "the path that is served in place of the requested one";
    let to = target(table, meaning, from.as_ref(), PathTemplate::parse);
    Some(Rewrite {
        from: from?,
        to: to?,
    })
}

/// Reads a table of `[[spa]]`.
pub(super) fn application(table: &mut RuleTable<'_>) -> Option<SinglePageApp> {
    table.check_keys(&["path", "page", "except"]);
    let path = table.required("path", PATHS, str::parse);
    let meaning = "the path of the application's page, as in \"/app/index.html\"";
    let page = table.required("page", meaning, |text| {
        page(text)?.ok_or_else(|| "the path is empty, it must name a page".to_owned())
    });
    let meaning = "a list of patterns, as in [\"/app/api/**\"]";
    Some(SinglePageApp {
        except: table.list("except", meaning, str::parse::<Pattern>),
        path: path?,
        page: page?,
    })
}

/// Reads the key `to`, which refers to the stars of `from`. If `from` is invalid, only the presence of `to`
/// is checked.
fn target<T, E: Display>(
    table: &mut RuleTable<'_>,
    meaning: &str,
    from: Option<&Pattern>,
    parse: impl FnOnce(&str, usize) -> Result<T, E>,
) -> Option<T> {
    let parse = |text: &str| from.map(|from| parse(text, from.stars())).transpose();
    table.required("to", meaning, parse)?
}

fn redirect_status(table: &mut RuleTable<'_>) -> Option<u16> {
    let Some(value) = table.find("status") else {
        return Some(REDIRECT_STATUS_DEFAULT);
    };
    let status = match value.data {
        ValueData::Integer(Some(number)) => u16::try_from(number).ok(),
        _ => None,
    };
    let is_known =
        |status: &u16| REDIRECT_STATUSES.contains(status) || WITHDRAWN_STATUSES.contains(status);
    let status = status.filter(is_known);
    if status.is_none() {
        let meaning = "301, 302, 303, 307 or 308, or without a target 403, 404, 410 or 451";
        table.report_key("status", &value.source, value.must_be(meaning));
    }
    status
}

fn fields_to_set(table: &mut RuleTable<'_>) -> Vec<(FieldName, FieldValue)> {
    let mut fields: Vec<(FieldName, FieldValue)> = Vec::new();
    let Some(value) = table.find("set") else {
        return fields;
    };
    let ValueData::Table(pairs) = &value.data else {
        let meaning = "a table, as in { Cache-Control = \"no-cache\" }";
        table.report_key("set", &value.source, value.must_be(meaning));
        return fields;
    };
    for pair in pairs {
        let field = field_to_set(&pair.key, &pair.value);
        match field {
            Ok((name, _)) if fields.iter().any(|(other, _)| *other == name) => {
                let message =
                    format!("{name} is given twice, upper and lower case make no difference");
                table.report_key("set", &pair.source, message);
            }
            Ok(field) => fields.push(field),
            Err(message) => table.report_key("set", &pair.source, message),
        }
    }
    fields
}

fn field_to_set(name: &str, value: &Value<'_>) -> Result<(FieldName, FieldValue), String> {
    let name = FieldName::to_set(name).map_err(|error| error.to_string())?;
    match value.text().map(FieldValue::parse) {
        Some(Ok(value)) => Ok((name, value)),
        Some(Err(error)) => Err(error.to_string()),
        None => {
            let described = value.described();
            Err(format!(
                "{described} was given for {name}, it must be a value in quotes"
            ))
        }
    }
}

/// Reads the statuses of a header rule: one, a list, or `"any"`.
fn statuses(table: &mut RuleTable<'_>) -> Statuses {
    let meaning = "a status, a list of them, as in [\"404\", \"5xx\"], or \"any\"";
    match table.find("status") {
        None => Statuses::Unspecified,
        Some(value) if value.text() == Some(Statuses::ANY) => Statuses::Any,
        Some(value) => Statuses::Listed(ranges(table, "status", value, meaning)),
    }
}

/// Reads the media types of a header rule: none, one or a list.
fn media_ranges(table: &mut RuleTable<'_>) -> Vec<MediaRange> {
    let meaning = "a media type or a list of them, as in \"text/html\" or [\"image/*\"]";
    match table.find("type") {
        None => Vec::new(),
        Some(value) => ranges(table, "type", value, meaning),
    }
}

/// Reads the value of `leaf`: one range or a list of ranges. A whole number is read as its digits.
fn ranges<R>(table: &mut RuleTable<'_>, leaf: &str, value: &Value<'_>, meaning: &str) -> Vec<R>
where
    R: FromStr + PartialEq + Clone + Display,
    R::Err: Display,
{
    if value.one_or_list().is_empty() {
        let message = format!("the list is empty, it must be {meaning}");
        table.report_key(leaf, &value.source, message);
    }
    let mut seen: Vec<R> = Vec::new();
    table.items(leaf, value, |item| {
        let range = match &item.data {
            ValueData::Text(text) => text.parse(),
            ValueData::Integer(Some(number)) => number.to_string().parse(),
            _ => return Err(item.must_be(meaning)),
        };
        let range: R = range.map_err(|error: R::Err| error.to_string())?;
        if seen.contains(&range) {
            return Err(format!("{range} is listed twice"));
        }
        seen.push(range.clone());
        Ok(range)
    })
}
