//! The encoded forms of one file: which there are, which could be made, and those that are ready.
//!
//! A form is filled in at its first use and then stays with its file in the cache. One thread does it,
//! however many ask.
//!
//! ```text
//!              claim_judgement           settle(true)
//!   Unjudged ------------------> Judging ------------> Beside
//!            <------------------    |
//!             return_judgement      | settle(false)
//!                                   v     claim_order
//!                                Possible ------------> Ordered
//!                                         <------------
//!                                          return_order
//! ```
//!
//! A form is filled in when it is Possible, Ordered or Beside. Until there is a verdict another can be
//! made meanwhile, and is kept if the one beside the file turns out false.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::http::accept_encoding::Coding;
use crate::site::content::{Representation, SidecarState, Sidecars};

/// The encoded forms of one file.
#[derive(Debug)]
pub struct EncodedVariants {
    /// By coding, in the order of [`Coding::COMPRESSED`].
    forms: [EncodedVariant; 3],
}

#[derive(Debug)]
struct EncodedVariant {
    /// A [`Stage`].
    stage: AtomicU8,
    /// Set once: the form, or that there is none.
    filled: OnceLock<Option<Representation>>,
    /// Set once, while the one beside the file was not judged: one that was made, or that none is.
    meanwhile: OnceLock<Option<Box<Representation>>>,
}

/// The way of a form that is not filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Possible,
    Ordered,
    Beside,
    Unjudged,
    Judging,
}

/// The knowledge of one form.
#[derive(Debug)]
pub enum VariantState<'a> {
    /// The form is ready to be sent.
    Ready(&'a Representation),
    /// There is none, and none will be made: nothing lies beside the file and compressing it is not
    /// wanted, or brings too little.
    None,
    /// It lies beside the file, and has not been read.
    Beside,
    /// It could be made.
    Possible,
    /// One lies beside the file, and its content has to be compared with the file's first.
    Unjudged,
    /// Another thread does that, or has been told to.
    Judging {
        /// Whether one could be made meanwhile.
        can_be_made: bool,
    },
    /// Another thread makes it, or has been told to.
    Ordered,
}

impl Stage {
    fn of(number: u8) -> Stage {
        let stages = [
            Stage::Possible,
            Stage::Ordered,
            Stage::Beside,
            Stage::Unjudged,
        ];
        let is = |stage: &Stage| *stage as u8 == number;
        stages.into_iter().find(is).unwrap_or(Stage::Judging)
    }
}

impl EncodedVariants {
    /// The forms of a file with these `sidecars`. What is missing there may be made if
    /// `may_compress`. `None` if there cannot be any.
    #[must_use]
    pub fn new(sidecars: Option<&Sidecars>, may_compress: bool) -> Option<EncodedVariants> {
        let forms = Coding::COMPRESSED.map(|coding| {
            let stage = match sidecars.map(|sidecars| sidecars.standing(coding)) {
                Some(SidecarState::Trusted) => Stage::Beside,
                Some(SidecarState::Unjudged) => Stage::Unjudged,
                Some(SidecarState::TooOld | SidecarState::Unusable) | None => Stage::Possible,
            };
            let (filled, meanwhile) = (OnceLock::new(), OnceLock::new());
            // They are new, so nothing can be in them.
            let _ = match stage {
                _ if may_compress => Ok(()),
                Stage::Possible => filled.set(None).map_err(drop),
                _ => meanwhile.set(None).map_err(drop),
            };
            EncodedVariant {
                stage: AtomicU8::new(stage as u8),
                filled,
                meanwhile,
            }
        });
        let is_any = forms.iter().any(|form| form.filled.get().is_none());
        is_any.then_some(EncodedVariants { forms })
    }

    /// Returns the state of the form in `coding`. Never waits.
    #[must_use]
    pub fn state(&self, coding: Coding) -> VariantState<'_> {
        let Some(form) = self.forms.get(coding as usize) else {
            return VariantState::None;
        };
        match form.filled.get() {
            Some(Some(representation)) => VariantState::Ready(representation),
            Some(None) => VariantState::None,
            None => form.state(),
        }
    }

    /// Whether the form in `coding` lies beside the file, read or not, and is used. If not, it can only be
    /// made, or is not judged yet.
    #[must_use]
    pub fn is_beside(&self, coding: Coding) -> bool {
        let form = self.forms.get(coding as usize);
        form.is_some_and(|form| form.stage() == Stage::Beside)
    }

    /// Whether a form in `coding` lies beside the file that is not judged yet.
    #[must_use]
    pub fn is_unjudged(&self, coding: Coding) -> bool {
        let form = self.forms.get(coding as usize);
        form.is_some_and(|form| form.stage() == Stage::Unjudged)
    }

    /// The form in `coding`, if it is ready.
    #[must_use]
    pub fn ready_in(&self, coding: Coding) -> Option<&Representation> {
        self.forms.get(coding as usize)?.filled.get()?.as_ref()
    }

    /// Fills in the form in `coding`, with what `make` returns, unless that has been done; waits for
    /// another thread that is at it. Also tells whether it was this call that filled it in.
    pub fn fill(
        &self,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> (Option<&Representation>, bool) {
        let Some(form) = self.forms.get(coding as usize) else {
            return (None, false);
        };
        let (filled, is_ours) = fill_once(&form.filled, make);
        (filled.as_ref(), is_ours)
    }

    /// Fills in a form that is sent while the one beside the file is being judged, as
    /// [`fill`](EncodedVariants::fill).
    pub fn fill_meanwhile(
        &self,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> (Option<&Representation>, bool) {
        let Some(form) = self.forms.get(coding as usize) else {
            return (None, false);
        };
        let (filled, is_ours) = fill_once(&form.meanwhile, || make().map(Box::new));
        (filled.as_deref(), is_ours)
    }

    /// Whether the caller is the one to have the form in `coding` made: true for one caller.
    #[must_use]
    pub fn claim_order(&self, coding: Coding) -> bool {
        self.pass(coding, Stage::Possible, Stage::Ordered)
    }

    /// Gives the claim back: the order could not be placed, and the next caller may try.
    pub fn return_order(&self, coding: Coding) {
        self.pass(coding, Stage::Ordered, Stage::Possible);
    }

    /// Whether the caller is the one to have the form beside the file judged: true for one caller.
    #[must_use]
    pub fn claim_judgement(&self, coding: Coding) -> bool {
        self.pass(coding, Stage::Unjudged, Stage::Judging)
    }

    /// Gives that claim back.
    pub fn return_judgement(&self, coding: Coding) {
        self.pass(coding, Stage::Judging, Stage::Unjudged);
    }

    /// Ends the judgement that was claimed: the form beside the file is used from now on, or never.
    pub fn settle(&self, coding: Coding, is_used: bool) {
        let next = if is_used {
            Stage::Beside
        } else {
            Stage::Possible
        };
        self.pass(coding, Stage::Judging, next);
    }

    /// Takes the form from one stage to another; false if it is not at the first.
    fn pass(&self, coding: Coding, from: Stage, to: Stage) -> bool {
        // Relaxed: the stage guards nothing. The form itself is in a lock of its own, or on the disk.
        self.forms.get(coding as usize).is_some_and(|form| {
            form.stage
                .compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// Those that are ready.
    pub fn ready(&self) -> impl Iterator<Item = &Representation> {
        self.forms.iter().flat_map(|form| {
            let filled = form.filled.get().and_then(Option::as_ref);
            filled.into_iter().chain(form.made_meanwhile().flatten())
        })
    }
}

impl EncodedVariant {
    /// The state of a form that is not filled in.
    fn state(&self) -> VariantState<'_> {
        match (self.stage(), self.made_meanwhile()) {
            (Stage::Beside, _) => VariantState::Beside,
            (Stage::Unjudged, _) => VariantState::Unjudged,
            (Stage::Possible, None) => VariantState::Possible,
            (Stage::Ordered, None) => VariantState::Ordered,
            (_, Some(Some(made))) => VariantState::Ready(made),
            (Stage::Judging, made) => VariantState::Judging {
                can_be_made: made.is_none(),
            },
            (Stage::Possible | Stage::Ordered, Some(None)) => VariantState::None,
        }
    }

    fn made_meanwhile(&self) -> Option<Option<&Representation>> {
        self.meanwhile.get().map(Option::as_deref)
    }

    fn stage(&self) -> Stage {
        Stage::of(self.stage.load(Ordering::Relaxed))
    }
}

/// The value in `place`, which `make` returns if there is none yet. Also tells whether this call has put it
/// there.
fn fill_once<T>(place: &OnceLock<T>, make: impl FnOnce() -> T) -> (&T, bool) {
    let mut is_ours = false;
    let value = place.get_or_init(|| {
        is_ours = true;
        make()
    });
    (value, is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unjudged(may_compress: bool) -> EncodedVariants {
        let forms = Coding::COMPRESSED.map(|_| {
            let meanwhile = OnceLock::new();
            if !may_compress {
                meanwhile.set(None).expect("a new one");
            }
            EncodedVariant {
                stage: AtomicU8::new(Stage::Unjudged as u8),
                filled: OnceLock::new(),
                meanwhile,
            }
        });
        EncodedVariants { forms }
    }

    #[test]
    fn one_caller_judges_a_form_and_nobody_makes_one_meanwhile() {
        for coding in Coding::COMPRESSED {
            let forms = unjudged(true);
            assert!(matches!(forms.state(coding), VariantState::Unjudged));
            assert!(!forms.claim_order(coding));
            assert!(forms.claim_judgement(coding) && !forms.claim_judgement(coding));
            assert!(matches!(
                forms.state(coding),
                VariantState::Judging { can_be_made: true }
            ));
            assert!(!forms.claim_order(coding));
            forms.return_judgement(coding);
            assert!(forms.claim_judgement(coding));
            forms.settle(coding, true);
            assert!(matches!(forms.state(coding), VariantState::Beside));
            assert!(!forms.claim_judgement(coding) && !forms.claim_order(coding));
        }
    }

    #[test]
    fn in_the_place_of_a_form_that_is_false_another_is_made_if_it_may() {
        let coding = Coding::Gzip;
        for may_compress in [true, false] {
            let forms = unjudged(may_compress);
            // Nobody has claimed it.
            forms.settle(Coding::Brotli, true);
            assert!(matches!(
                forms.state(Coding::Brotli),
                VariantState::Unjudged
            ));
            assert!(forms.claim_judgement(coding));
            forms.settle(coding, false);
            let is_possible = matches!(forms.state(coding), VariantState::Possible);
            assert_eq!(is_possible, may_compress);
            assert_eq!(
                matches!(forms.state(coding), VariantState::None),
                !may_compress
            );
        }
    }
}
