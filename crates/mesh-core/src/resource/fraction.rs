/// `envoy.type.v3.FractionalPercent`: a share of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FractionalPercent {
    /// How many; as many as the denominator or more are all.
    pub numerator: u32,
    /// Of how many.
    pub denominator: Denominator,
}

/// `envoy.type.v3.FractionalPercent.DenominatorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denominator {
    /// 100.
    Hundred,
    /// 10,000.
    TenThousand,
    /// 1,000,000.
    Million,
}

impl FractionalPercent {
    /// None.
    pub const NONE: Self = Self::percent(0);

    /// So many in a hundred.
    pub const fn percent(numerator: u32) -> Self {
        Self { numerator, denominator: Denominator::Hundred }
    }

    /// Whether a well mixed number is within the share.
    #[inline]
    pub fn takes(self, random: u64) -> bool {
        random % self.denominator.value() < u64::from(self.numerator)
    }
}

impl Denominator {
    fn value(self) -> u64 {
        match self {
            Self::Hundred => 100,
            Self::TenThousand => 10_000,
            Self::Million => 1_000_000,
        }
    }
}
