/// Numbers of one pick out of one random number, by Knuth's MMIX generator, whose high bits are
/// good: the first costs nothing and each further one a multiplication.
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(random: u64) -> Self {
        Self(random)
    }

    /// A number of 64 bits.
    #[inline]
    pub(super) fn number(&mut self) -> u64 {
        const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
        const INCREMENT: u64 = 1_442_695_040_888_963_407;
        let number = self.0;
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        number
    }

    /// A number below `length`: the high half, scaled, which needs no division and has a bias
    /// below length / 2³².
    #[inline]
    pub(super) fn below(&mut self, length: usize) -> usize {
        (((self.number() >> 32) * length as u64) >> 32) as usize
    }

    /// A number from 0 up to 1.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.number() >> 32) as f64 / 4_294_967_296.0
    }
}
