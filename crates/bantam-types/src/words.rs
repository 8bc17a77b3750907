//! Closed sets of words that the ledger keeps.

/// Defines an enum whose variants each have a word of their own and one sentence on what they mean.
macro_rules! words {
    ($(#[$about_all:meta])* $name:ident: $($variant:ident = $word:literal, $about:literal;)*) => {
        $(#[$about_all])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $about] $variant,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns its word in the ledger and in logs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// Returns what it means, in one sentence.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => $about,)*
                }
            }

            /// Returns the one with this word.
            pub fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|each| each.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    use crate::{FaultKind, ServiceTier, Unpriced};

    fn check(words: impl Iterator<Item = &'static str>) {
        let mut words: Vec<&str> = words.collect();
        words.sort_unstable();
        let count = words.len();
        words.dedup();
        assert_eq!(words.len(), count);
    }

    #[test]
    fn every_variant_has_a_word_of_its_own() {
        check(FaultKind::ALL.iter().map(|kind| kind.as_str()));
        check(ServiceTier::ALL.iter().map(|tier| tier.as_str()));
        check(Unpriced::ALL.iter().map(|reason| reason.as_str()));
    }
}
