//! The rules of one site: redirects and rewrites, fields of answers, CORS, and applications of one page.
//!
//! [`Rules`] are made ready once; [`FieldEditor`] applies those about fields and remembers the result.

mod applications;
mod coding_policy;
mod cors;
mod edited_fields;
mod field_editor;
mod header_rules;
mod redirects;
mod site_rules;

pub use applications::Applications;
pub use coding_policy::{CodingPolicy, CodingRules};
pub use edited_fields::EditedFields;
pub use field_editor::{FieldEditor, ResponseFacts};
pub use header_rules::SECURITY_FIELDS;
pub use site_rules::Rules;
