use super::step::Step;
use super::{Context, Request, Response, Verdict};

/// The filters of a route, in order. See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct Chain {
    steps: Box<[Step]>,
    needs_request: bool,
    changes_response: bool,
    tells: bool,
}

impl Chain {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let steps: Box<[Step]> = steps.into_iter().collect();
        let needs_request = steps.iter().any(Step::needs_request);
        let changes_response = steps.iter().any(Step::changes_response);
        let tells = steps.iter().any(Step::tells);
        Self { steps, needs_request, changes_response, tells }
    }

    /// The filters.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether no filter does anything.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether [`response`](Self::response) has something to do.
    pub fn changes_response(&self) -> bool {
        self.changes_response
    }

    /// Whether some filter notes what is to be handed on ([`Request::noted`]).
    pub fn tells(&self) -> bool {
        self.tells
    }

    /// Whether [`response`](Self::response) wants to see the request's head again.
    pub fn needs_request(&self) -> bool {
        self.needs_request
    }

    /// Takes a request through the filters, beginning with step `from`: 0 at first, and what
    /// [`Verdict::Delay`] says after a wait.
    pub fn request(
        &self,
        from: usize,
        request: &mut Request<'_>,
        context: &Context<'_>,
    ) -> Verdict {
        // Odd numbers stand for a step whose delay is over: it may have more to say.
        for (at, step) in self.steps.iter().enumerate().skip(from / 2) {
            let again = 2 * at + 1;
            let context = &at_step(context, at);
            let verdict = match from == again {
                true => step.after_delay(request, context),
                false => step.request(request, context),
            };
            match verdict {
                Verdict::Continue => {}
                Verdict::Delay { after, active, .. } => {
                    return Verdict::Delay { after, next: again, active };
                }
                reply => return reply,
            }
        }
        Verdict::Continue
    }

    /// Takes a response back through the filters, the last one first.
    pub fn response(&self, response: &mut Response<'_>, context: &Context<'_>) {
        if self.changes_response {
            for (at, step) in self.steps.iter().enumerate().rev() {
                step.response(response, &at_step(context, at));
            }
        }
    }
}

/// What the filter in that place sees: the place, and random bits of its own, so that two of a kind
/// draw apart.
fn at_step<'a>(context: &Context<'a>, at: usize) -> Context<'a> {
    // Odd, so that no two places have the same.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    Context { random: context.random ^ STEP.wrapping_mul(at as u64), step: at, ..*context }
}
