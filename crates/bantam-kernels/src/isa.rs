//! Detects the machine's instruction sets, and enters the code compiled for them.

use crate::simd::{Portable, Simd};

/// An instruction set that this machine has.
///
/// **Invariant:** a value exists only after its instructions were detected, so the kernels it selects are safe to
/// call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Isa {
    /// Returns the fastest instruction set of this machine.
    pub fn best() -> Self {
        Self::available().first().copied().unwrap_or(Self(Set::Portable))
    }

    /// Returns every instruction set of this machine, fastest first; the last one works everywhere.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx512 && is_x86_feature_detected!("avx512vnni") {
                found.push(Self(Set::Avx512Vnni));
            }
            if avx2 && is_x86_feature_detected!("avxvnni") {
                found.push(Self(Set::AvxVnni));
            }
            if avx2 {
                found.push(Self(Set::Avx2));
            }
        }
        found.push(Self(Set::Portable));
        found
    }

    /// Returns the common name of the instruction set.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            Set::Portable => "portable",
        }
    }

    /// Runs plain loops compiled for this instruction set.
    pub fn run<L: Loops>(self, loops: L) -> L::Output {
        self.call(Plain(loops))
    }

    /// Runs a kernel compiled for this instruction set.
    pub(crate) fn call<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY: a value of this type exists only if these instructions were detected.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => unsafe { x86::avx512_vnni(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => unsafe { x86::avx_vnni(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { x86::avx2(kernel) },
            Set::Portable => kernel.run(Portable),
        }
    }
}

/// Loops over slices that the compiler vectorises, compiled once for every instruction set.
///
/// Implementations mark `run` and everything it calls `#[inline(always)]`: only then may the compiler use the
/// instruction set in it.
pub trait Loops {
    /// What the loops return.
    type Output;

    /// Runs them.
    fn run(self) -> Self::Output;
}

struct Plain<L>(L);

impl<L: Loops> Kernel for Plain<L> {
    type Output = L::Output;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> L::Output {
        self.0.run()
    }
}

/// A computation that is compiled once for every instruction set.
///
/// Implementations mark `run` and everything it calls `#[inline(always)]`: only then may the compiler use the
/// instruction set in it.
pub(crate) trait Kernel {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Kernel;
    use crate::simd::{Avx2, Avx512};

    /// # Safety
    /// The machine has the named features.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) unsafe fn avx512_vnni<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the caller vouches for the features.
        kernel.run(unsafe { Avx512::new() })
    }

    /// # Safety
    /// The machine has the named features.
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    pub(super) unsafe fn avx_vnni<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the caller vouches for the features.
        kernel.run(unsafe { Avx2::<true>::new() })
    }

    /// # Safety
    /// The machine has the named features.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the caller vouches for the features.
        kernel.run(unsafe { Avx2::<false>::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_set_is_always_available_and_last() {
        let names: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
        assert_eq!(names.last(), Some(&"portable"));
        assert_eq!(names.first(), Some(&Isa::best().name()));
    }
}
