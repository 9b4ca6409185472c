//! The content of a file as it is sent: media type, content codings, and the field lines that describe it.
//!
//! Each encoded variant of a file is a [`Representation`]. [`Sidecars`] are variants that the owner of the
//! site puts beside the file, such as `name.gz`.

mod allocation;
mod comparison;
mod content_coding;
mod content_copy;
mod decoding;
mod encoded_names;
mod encoder;
mod loading;
mod media_types;
mod representation;
mod sidecars;
mod verdict_cache;

pub use allocation::{allocation, arc_allocation};
pub use comparison::{ExpectedContent, VariantVerdict, compare};
pub use content_coding::{
    MIN_COMPRESSED_BYTES, compress, is_sidecar_path, saves_enough, sidecar_path, variant_etag,
};
pub use decoding::{ContentDecoder, DecodeError};
pub use encoded_names::EncodedNames;
pub use encoder::{ENCODER_PIECE_BYTES, ENCODER_WORKING_BYTES, Encoder};
pub use loading::{LoadLimits, RepresentationLoader};
pub use media_types::{Compressibility, MediaTypes};
pub use representation::{Content, Metadata, Representation};
pub use sidecars::{MAX_VERIFIED_BYTES, OriginalFile, SidecarState, SidecarVerification, Sidecars};
pub use verdict_cache::VerdictCache;
