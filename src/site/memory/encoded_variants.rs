//! The encoded variants of one file: their states, and the representations that are ready.
//!
//! A variant is filled in at its first use, by one thread, and then stays with its file in the cache.
//!
//! ```text
//!               claim_verification             settle(true)
//!   Unverified --------------------> Verifying ------------> Sidecar
//!              <--------------------     |
//!               return_verification      | settle(false)
//!                                        v    claim_order
//!                                    Possible ------------> Ordered
//!                                             <------------
//!                                              return_order
//! ```
//!
//! A variant is filled in when it is Possible, Ordered or Sidecar. Until there is a verdict on the
//! sidecar, another variant can be made meanwhile. It is kept if the sidecar is refused.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::http::accept_encoding::Coding;
use crate::site::content::{Representation, SidecarState, Sidecars};

/// The encoded variants of one file.
#[derive(Debug)]
pub struct EncodedVariants {
    /// By coding, in the order of [`Coding::COMPRESSED`].
    variants: [EncodedVariant; 3],
}

#[derive(Debug)]
struct EncodedVariant {
    /// A [`VariantStage`].
    stage: AtomicU8,
    /// Set once: the variant, or `None` if there is none.
    filled: OnceLock<Option<Box<Representation>>>,
    /// Set once, while the sidecar was not verified: the variant that was made, or `None` if none was.
    meanwhile: OnceLock<Option<Box<Representation>>>,
}

/// The stage of a variant that is not filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum VariantStage {
    Possible,
    Ordered,
    Sidecar,
    Unverified,
    Verifying,
}

/// The state of one variant.
#[derive(Debug)]
pub enum VariantState<'a> {
    /// The variant is ready to be sent.
    Ready(&'a Representation),
    /// There is no variant, and none will be made: the file has no sidecar, and compression is not
    /// wanted or saves too little.
    None,
    /// The variant is a sidecar that has not been read.
    Sidecar,
    /// The variant can be made by compression.
    Possible,
    /// There is a sidecar, and its content must be compared with the file's first.
    Unverified,
    /// Another thread is verifying the sidecar, or has an order to.
    Verifying {
        /// Whether a variant can be made meanwhile.
        can_be_made: bool,
    },
    /// Another thread is making the variant, or has an order to.
    Ordered,
}

impl VariantStage {
    fn of(number: u8) -> VariantStage {
        let stages = [
            VariantStage::Possible,
            VariantStage::Ordered,
            VariantStage::Sidecar,
            VariantStage::Unverified,
        ];
        let is = |stage: &VariantStage| *stage as u8 == number;
        stages
            .into_iter()
            .find(is)
            .unwrap_or(VariantStage::Verifying)
    }
}

impl EncodedVariants {
    /// The variants of a file with these `sidecars`. If `may_compress`, those without a sidecar can be
    /// made. `None` if there cannot be any.
    #[must_use]
    pub fn new(sidecars: Option<&Sidecars>, may_compress: bool) -> Option<EncodedVariants> {
        let variants = Coding::COMPRESSED.map(|coding| {
            let stage = match sidecars.map(|sidecars| sidecars.state(coding)) {
                Some(SidecarState::Trusted) => VariantStage::Sidecar,
                Some(SidecarState::Unverified) => VariantStage::Unverified,
                Some(SidecarState::TooOld | SidecarState::Unusable) | None => {
                    VariantStage::Possible
                }
            };
            let (filled, meanwhile) = (OnceLock::new(), OnceLock::new());
            // Cannot fail: the cells are new.
            let _ = match stage {
                _ if may_compress => Ok(()),
                VariantStage::Possible => filled.set(None).map_err(drop),
                _ => meanwhile.set(None).map_err(drop),
            };
            EncodedVariant {
                stage: AtomicU8::new(stage as u8),
                filled,
                meanwhile,
            }
        });
        let is_any = variants
            .iter()
            .any(|variant| variant.filled.get().is_none());
        is_any.then_some(EncodedVariants { variants })
    }

    /// Returns the state of the variant in `coding`. Never waits.
    #[must_use]
    pub fn state(&self, coding: Coding) -> VariantState<'_> {
        let Some(variant) = self.variants.get(coding as usize) else {
            return VariantState::None;
        };
        match variant.filled.get() {
            Some(Some(representation)) => VariantState::Ready(representation),
            Some(None) => VariantState::None,
            None => variant.state(),
        }
    }

    /// Whether the variant in `coding` is a sidecar that may be sent, read or not. False also if the
    /// sidecar is not verified yet.
    #[must_use]
    pub fn is_sidecar(&self, coding: Coding) -> bool {
        let variant = self.variants.get(coding as usize);
        variant.is_some_and(|variant| variant.stage() == VariantStage::Sidecar)
    }

    /// Whether there is a sidecar in `coding` that is not verified yet.
    #[must_use]
    pub fn is_unverified(&self, coding: Coding) -> bool {
        let variant = self.variants.get(coding as usize);
        variant.is_some_and(|variant| variant.stage() == VariantStage::Unverified)
    }

    /// The variant in `coding`, if it is ready.
    #[must_use]
    pub fn ready_in(&self, coding: Coding) -> Option<&Representation> {
        self.variants.get(coding as usize)?.filled.get()?.as_deref()
    }

    /// Fills in the variant in `coding` with the result of `make`, unless it is filled in already. Waits
    /// while another thread fills it in. Also returns whether this call has filled it in.
    pub fn fill(
        &self,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> (Option<&Representation>, bool) {
        let Some(variant) = self.variants.get(coding as usize) else {
            return (None, false);
        };
        let (filled, is_ours) = fill_once(&variant.filled, || make().map(Box::new));
        (filled.as_deref(), is_ours)
    }

    /// As [`fill`](EncodedVariants::fill), for a variant that is sent while the sidecar is being verified.
    pub fn fill_meanwhile(
        &self,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> (Option<&Representation>, bool) {
        let Some(variant) = self.variants.get(coding as usize) else {
            return (None, false);
        };
        let (filled, is_ours) = fill_once(&variant.meanwhile, || make().map(Box::new));
        (filled.as_deref(), is_ours)
    }

    /// Claims the order to make the variant in `coding`. True for one caller.
    #[must_use]
    pub fn claim_order(&self, coding: Coding) -> bool {
        self.pass(coding, VariantStage::Possible, VariantStage::Ordered)
    }

    /// Returns the claim, because the order could not be placed. The next caller may try.
    pub fn return_order(&self, coding: Coding) {
        self.pass(coding, VariantStage::Ordered, VariantStage::Possible);
    }

    /// Claims the order to verify the sidecar in `coding`. True for one caller.
    #[must_use]
    pub fn claim_verification(&self, coding: Coding) -> bool {
        self.pass(coding, VariantStage::Unverified, VariantStage::Verifying)
    }

    /// Returns the claim, as [`return_order`](EncodedVariants::return_order).
    pub fn return_verification(&self, coding: Coding) {
        self.pass(coding, VariantStage::Verifying, VariantStage::Unverified);
    }

    /// Ends the verification that was claimed. From now on the sidecar is used, or never.
    pub fn settle(&self, coding: Coding, is_used: bool) {
        let next = if is_used {
            VariantStage::Sidecar
        } else {
            VariantStage::Possible
        };
        self.pass(coding, VariantStage::Verifying, next);
    }

    /// Moves the variant from one stage to another; false if it is not at the first.
    fn pass(&self, coding: Coding, from: VariantStage, to: VariantStage) -> bool {
        // Relaxed: the stage guards no data. The variant is in a cell of its own, or on the disk.
        self.variants.get(coding as usize).is_some_and(|variant| {
            variant
                .stage
                .compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// The variants that are ready.
    pub fn ready(&self) -> impl Iterator<Item = &Representation> {
        self.variants.iter().flat_map(|variant| {
            let filled = variant.filled.get().and_then(Option::as_deref);
            filled.into_iter().chain(variant.made_meanwhile().flatten())
        })
    }
}

impl EncodedVariant {
    /// The state of a variant that is not filled in.
    fn state(&self) -> VariantState<'_> {
        match (self.stage(), self.made_meanwhile()) {
            (VariantStage::Sidecar, _) => VariantState::Sidecar,
            (VariantStage::Unverified, _) => VariantState::Unverified,
            (VariantStage::Possible, None) => VariantState::Possible,
            (VariantStage::Ordered, None) => VariantState::Ordered,
            (_, Some(Some(made))) => VariantState::Ready(made),
            (VariantStage::Verifying, made) => VariantState::Verifying {
                can_be_made: made.is_none(),
            },
            (VariantStage::Possible | VariantStage::Ordered, Some(None)) => VariantState::None,
        }
    }

    fn made_meanwhile(&self) -> Option<Option<&Representation>> {
        self.meanwhile.get().map(Option::as_deref)
    }

    fn stage(&self) -> VariantStage {
        VariantStage::of(self.stage.load(Ordering::Relaxed))
    }
}

/// Returns the value in `cell`, which `make` provides if there is none yet. Also returns whether this
/// call has set it.
fn fill_once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> T) -> (&T, bool) {
    let mut is_ours = false;
    let value = cell.get_or_init(|| {
        is_ours = true;
        make()
    });
    (value, is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unverified(may_compress: bool) -> EncodedVariants {
        let variants = Coding::COMPRESSED.map(|_| {
            let meanwhile = OnceLock::new();
            if !may_compress {
                meanwhile.set(None).expect("a new one");
            }
            EncodedVariant {
                stage: AtomicU8::new(VariantStage::Unverified as u8),
                filled: OnceLock::new(),
                meanwhile,
            }
        });
        EncodedVariants { variants }
    }

    #[test]
    fn one_caller_verifies_a_sidecar_and_no_order_is_placed_meanwhile() {
        for coding in Coding::COMPRESSED {
            let variants = unverified(true);
            assert!(matches!(variants.state(coding), VariantState::Unverified));
            assert!(!variants.claim_order(coding));
            assert!(variants.claim_verification(coding) && !variants.claim_verification(coding));
            assert!(matches!(
                variants.state(coding),
                VariantState::Verifying { can_be_made: true }
            ));
            assert!(!variants.claim_order(coding));
            variants.return_verification(coding);
            assert!(variants.claim_verification(coding));
            variants.settle(coding, true);
            assert!(matches!(variants.state(coding), VariantState::Sidecar));
            assert!(!variants.claim_verification(coding) && !variants.claim_order(coding));
        }
    }

    #[test]
    fn a_wrong_sidecar_is_replaced_by_a_variant_made_here_if_allowed() {
        let coding = Coding::Gzip;
        for may_compress in [true, false] {
            let variants = unverified(may_compress);
            // Without effect: nobody has claimed it.
            variants.settle(Coding::Brotli, true);
            assert!(matches!(
                variants.state(Coding::Brotli),
                VariantState::Unverified
            ));
            assert!(variants.claim_verification(coding));
            variants.settle(coding, false);
            let is_possible = matches!(variants.state(coding), VariantState::Possible);
            assert_eq!(is_possible, may_compress);
            assert_eq!(
                matches!(variants.state(coding), VariantState::None),
                !may_compress
            );
        }
    }
}
