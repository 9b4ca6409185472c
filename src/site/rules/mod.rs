//! The rules of one site: redirects and rewrites, fields of answers, CORS, applications of one page.

pub mod applications;
pub mod coding_policy;
pub mod cors;
pub mod edited_fields;
pub mod field_editor;
pub mod header_rules;
pub mod redirects;
pub mod remarks;
pub mod site_rules;
