/// Many random numbers out of one, by Knuth's MMIX generator: the first costs nothing and each
/// further one a multiplication.
#[derive(Clone, Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number of 64 bits, the high ones of which are good.
    #[inline]
    pub(crate) fn number(&mut self) -> u64 {
        const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
        const INCREMENT: u64 = 1_442_695_040_888_963_407;
        let number = self.0;
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        number
    }

    /// A number all of whose bits are good, mixed as SplitMix64 does it, so that neighbours and
    /// equal halves of the seed do not show.
    pub(crate) fn mixed(&mut self) -> u64 {
        let number = self.number().wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `length`: the high half, scaled, which needs no division and has a bias
    /// below length / 2³².
    #[inline]
    pub(crate) fn below(&mut self, length: usize) -> usize {
        (((self.number() >> 32) * length as u64) >> 32) as usize
    }

    /// A remainder by `divisor`, which is not 0. As Envoy draws percentages; the bias is below
    /// divisor / 2⁶⁴.
    pub(crate) fn remainder(&mut self, divisor: u64) -> u64 {
        self.mixed() % divisor
    }

    /// A number from 0 up to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.number() >> 32) as f64 / 4_294_967_296.0
    }
}
