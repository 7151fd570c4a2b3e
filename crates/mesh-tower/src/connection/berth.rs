use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A box for one future after another, all of one type that cannot be named.
///
/// A future is dropped at its end, and its box stays. Of `tokio_util`'s `ReusableBoxFuture` a future
/// is copied five times on its way in, and stays until the next one comes.
pub(super) struct Berth<T>(Option<Box<dyn Place<T>>>);

trait Place<T>: Any + Send {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T>;
}

/// Two boxes, as what is pinned is not given out again; the outer one holds a pointer.
struct Taken<F>(Pin<Box<Option<F>>>);

impl<T: 'static> Berth<T> {
    /// Nothing in it.
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Has it hold `future` in place of what it holds.
    #[inline]
    pub(super) fn set<F>(&mut self, future: F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let taken = self.0.as_deref_mut().map(|place| place as &mut dyn Any);
        match taken.and_then(|place| place.downcast_mut::<Taken<F>>()) {
            Some(taken) => taken.0.set(Some(future)),
            None => self.0 = Some(Box::new(Taken(Box::pin(Some(future))))),
        }
    }

    /// What comes of the future it holds; never anything while it holds none.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Some(place) => place.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> Place<F::Output> for Taken<F>
where
    F: Future + Send + 'static,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = self.0.as_mut().as_pin_mut() else { return Poll::Pending };
        let output = ready!(future.poll(cx));
        self.0.set(None);
        Poll::Ready(output)
    }
}

impl<T: 'static> Future for Berth<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Self::poll(&mut self, cx)
    }
}

impl<T> fmt::Debug for Berth<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Berth").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;

    fn poll<T: 'static>(berth: &mut Berth<T>) -> Poll<T> {
        berth.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Where the pinned future of that type is.
    fn address<F: Future<Output = ()> + Send + 'static>(
        berth: &mut Berth<()>,
        _: &F,
    ) -> *const Option<F> {
        let place = berth.0.as_deref_mut().unwrap() as &mut dyn Any;
        &*place.downcast_ref::<Taken<F>>().unwrap().0
    }

    #[test]
    fn futures_of_one_type_share_a_box_and_others_get_one() {
        let mut berth = Berth::new();
        assert!(poll(&mut berth).is_pending());
        berth.set(ready(()));
        let first = address(&mut berth, &ready(()));
        assert!(poll(&mut berth).is_ready() && poll(&mut berth).is_pending());
        berth.set(ready(()));
        assert_eq!(address(&mut berth, &ready(())), first);
        berth.set(pending());
        assert!(poll(&mut berth).is_pending());
        berth.set(async {});
        assert!(poll(&mut berth).is_ready());
    }

    #[test]
    fn a_future_is_dropped_at_its_end_or_when_another_comes() {
        let kept = Arc::new(());
        let holds = |ends: bool| {
            let kept = Arc::clone(&kept);
            std::future::poll_fn(move |_| {
                let _kept = &kept;
                if ends { Poll::Ready(()) } else { Poll::Pending }
            })
        };
        let mut berth = Berth::new();
        berth.set(holds(true));
        assert!(poll(&mut berth).is_ready());
        assert_eq!(Arc::strong_count(&kept), 1);
        berth.set(holds(false));
        assert!(poll(&mut berth).is_pending());
        berth.set(holds(false));
        assert_eq!(Arc::strong_count(&kept), 2);
    }
}
