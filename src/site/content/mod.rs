//! The content of a file as it is sent: its media type, its content codings, and the field lines that
//! describe it.
//!
//! Each form of a file is a [`Representation`]; [`Sidecars`] are the forms that lie beside it.

mod comparison;
mod content_coding;
mod decoding;
mod encoded_names;
mod encoder;
mod keeping;
mod loading;
mod media_types;
mod representation;
mod sidecars;
mod verdicts;

pub use comparison::{Expected, VariantVerdict, compare};
pub use content_coding::{MIN_COMPRESSED_BYTES, compress, etag_of_form, is_worth_it, sidecar};
pub use decoding::{Decoding, Undecodable};
pub use encoded_names::EncodedNames;
pub use encoder::{ENCODER_PIECE_BYTES, ENCODER_WORKING_BYTES, Encoder};
pub use loading::{LoadLimits, Loading};
pub use media_types::{MediaTypes, Redundancy};
pub use representation::{Content, Metadata, Representation};
pub use sidecars::{Beside, Evidence, MAX_JUDGED_BYTES, SidecarState, Sidecars};
pub use verdicts::Verdicts;
