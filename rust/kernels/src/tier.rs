//! Which vector instructions this process uses, decided once at run time.

use std::sync::atomic::{AtomicU8, Ordering};

/// A set of vector instructions, from the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Tier {
    /// Whatever the baseline of the target gives (SSE2 on x86-64, NEON on aarch64).
    Scalar = 1,
    /// AVX2 with FMA and BMI on x86-64.
    Avx2 = 2,
    /// AVX-512 (F, BW, VL and DQ) above [`Tier::Avx2`] on x86-64.
    Avx512 = 3,
}

impl Tier {
    /// The tier's name in `IRONLEARN_SIMD` and in error messages.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Scalar => "scalar",
            Tier::Avx2 => "avx2",
            Tier::Avx512 => "avx512",
        }
    }

    /// The tier of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Tier> {
        match name {
            "scalar" => Some(Tier::Scalar),
            "avx2" => Some(Tier::Avx2),
            "avx512" => Some(Tier::Avx512),
            _ => None,
        }
    }
}

/// The widest tier that this processor supports.
pub fn detected() -> Tier {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
            {
                return Tier::Avx512;
            }
            return Tier::Avx2;
        }
    }
    Tier::Scalar
}

/// Every tier that this processor supports, narrowest first; tests run over these.
pub fn supported() -> Vec<Tier> {
    [Tier::Scalar, Tier::Avx2, Tier::Avx512]
        .into_iter()
        .filter(|tier| *tier <= detected())
        .collect()
}

static ACTIVE: AtomicU8 = AtomicU8::new(0);

/// The tier in force: the widest supported one, lowered by `IRONLEARN_SIMD`.
///
/// An unknown name in the variable, or a tier that the processor lacks, is ignored here;
/// the Python package reports it on import.
pub fn active() -> Tier {
    match ACTIVE.load(Ordering::Relaxed) {
        1 => Tier::Scalar,
        2 => Tier::Avx2,
        3 => Tier::Avx512,
        _ => {
            let wanted = std::env::var("IRONLEARN_SIMD")
                .ok()
                .and_then(|name| Tier::from_name(name.trim()));
            let tier = wanted.map_or(detected(), |tier| tier.min(detected()));
            ACTIVE.store(tier as u8, Ordering::Relaxed);
            tier
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for tier in [Tier::Scalar, Tier::Avx2, Tier::Avx512] {
            assert_eq!(Tier::from_name(tier.name()), Some(tier));
        }
        assert_eq!(Tier::from_name("mmx"), None);
    }

    #[test]
    fn active_is_supported() {
        assert!(supported().contains(&active()));
    }
}
