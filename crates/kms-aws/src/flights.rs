//! Unwraps under way that others may join: one call, an answer for each.
//!
//! Nobody leads. A flight is a future that everyone who waits for it polls, so that whoever goes
//! away strands no one, and the call is given up when all have gone.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use sealvol_envelope::{DataKey, DecryptRequest, EncryptionContext, KmsError};

/// Everything that an answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Route {
    ciphertext: Vec<u8>,
    context: EncryptionContext,
    key_id: Option<String>,
    grant_tokens: Vec<String>,
}

impl Route {
    fn of(request: &DecryptRequest) -> Self {
        Self {
            ciphertext: request.ciphertext.clone(),
            context: request.context.clone(),
            key_id: request.key_id.clone(),
            grant_tokens: request.grant_tokens.0.clone(),
        }
    }
}

type Answer = Result<Arc<DataKey>, Arc<KmsError>>;
type Flight = BoxFuture<'static, Answer>;

/// The flights that are under way.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    under_way: Mutex<HashMap<Route, WeakShared<Flight>>>,
}

impl Flights {
    /// Joins the flight of an equal request, or starts one with `call`; with more than `max` under
    /// way it is not offered to others. `joined` is told if it was joined.
    pub(crate) async fn fly<F>(
        &self,
        request: DecryptRequest,
        max: usize,
        joined: impl FnOnce(),
        call: impl FnOnce(DecryptRequest) -> F,
    ) -> Result<DataKey, KmsError>
    where
        F: Future<Output = Result<DataKey, KmsError>> + Send + 'static,
    {
        let route = Route::of(&request);
        let mut seat = {
            let mut under_way = self.under_way.lock();
            match under_way.get(&route).and_then(boardable) {
                Some(flight) => {
                    joined();
                    Seat { flights: self, route, flight: Some(flight) }
                }
                None => {
                    let future = call(request);
                    let answer = async move { future.await.map(Arc::new).map_err(Arc::new) };
                    let flight: Shared<Flight> = answer.boxed().shared();
                    if let Some(weak) = flight.downgrade()
                        && under_way.len() < max
                    {
                        under_way.insert(route.clone(), weak);
                    }
                    Seat { flights: self, route, flight: Some(flight) }
                }
            }
        };
        let answer = match &mut seat.flight {
            Some(flight) => flight.await,
            None => std::future::pending().await,
        };
        drop(seat);
        match answer {
            Ok(key) => Ok(Arc::try_unwrap(key).unwrap_or_else(|key| key.duplicate())),
            Err(error) => Err(Arc::try_unwrap(error).unwrap_or_else(|error| copy(&error))),
        }
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.under_way.lock().len()
    }
}

/// A flight that has not landed. What has landed is an answer to an earlier question: the key may
/// have been disabled since.
fn boardable(flight: &WeakShared<Flight>) -> Option<Shared<Flight>> {
    flight.upgrade().filter(|flight| flight.peek().is_none())
}

/// A waiter's hold on a flight; the last one to leave takes the flight off the board.
struct Seat<'a> {
    flights: &'a Flights,
    route: Route,
    flight: Option<Shared<Flight>>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        // Dropped outside the lock: it may be the call itself.
        drop(self.flight.take());
        let mut under_way = self.flights.under_way.lock();
        if under_way.get(&self.route).is_some_and(|flight| boardable(flight).is_none()) {
            under_way.remove(&self.route);
        }
    }
}

fn copy(error: &KmsError) -> KmsError {
    match error.message() {
        Some(message) => KmsError::new(error.kind(), error.code(), message),
        None => KmsError::silent(error.kind(), error.code()),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Waker};

    use sealvol_envelope::{GrantTokens, KmsErrorKind};
    use tokio::sync::oneshot;

    use super::*;

    fn request(blob: &[u8]) -> DecryptRequest {
        DecryptRequest {
            ciphertext: blob.to_vec(),
            context: EncryptionContext::new(),
            key_id: None,
            grant_tokens: GrantTokens::default(),
        }
    }

    /// A call that lasts until it is told what to answer.
    #[derive(Default)]
    struct Calls {
        made: AtomicU32,
        answers: Mutex<Vec<oneshot::Sender<Result<DataKey, KmsError>>>>,
    }

    impl Calls {
        fn call(
            &self,
            _: DecryptRequest,
        ) -> impl Future<Output = Result<DataKey, KmsError>> + Send + use<> {
            self.made.fetch_add(1, Ordering::Relaxed);
            let (send, receive) = oneshot::channel();
            self.answers.lock().push(send);
            async move { receive.await.unwrap() }
        }

        fn made(&self) -> u32 {
            self.made.load(Ordering::Relaxed)
        }

        fn answer(&self, answer: Result<DataKey, KmsError>) {
            self.answers.lock().remove(0).send(answer).unwrap();
        }
    }

    fn key() -> DataKey {
        DataKey::take(&mut [7; 64])
    }

    fn started(future: std::pin::Pin<&mut impl Future>) {
        assert!(matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    }

    #[tokio::test]
    async fn equal_requests_share_one_call_and_each_gets_a_key_of_its_own() {
        let (flights, calls) = (Flights::default(), Calls::default());
        let joined = AtomicU32::new(0);
        let fly = |blob: &'static [u8]| {
            let joined = || {
                joined.fetch_add(1, Ordering::Relaxed);
            };
            flights.fly(request(blob), 10, joined, |request| calls.call(request))
        };
        let (mut a, mut b, mut c) = (pin!(fly(b"x")), pin!(fly(b"x")), pin!(fly(b"y")));
        started(a.as_mut());
        started(b.as_mut());
        started(c.as_mut());
        assert_eq!((calls.made(), joined.load(Ordering::Relaxed), flights.count()), (2, 1, 2));
        calls.answer(Ok(key()));
        let (a, b) = tokio::join!(a, b);
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(a.expose_secret() == [7; 64] && b.expose_secret() == [7; 64]);
        assert_ne!(a.expose_secret().as_ptr(), b.expose_secret().as_ptr());
        calls.answer(Err(KmsError::silent(KmsErrorKind::Denied, "X")));
        assert_eq!(c.await.unwrap_err().code(), "X");
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn every_waiter_gets_the_error() {
        let (flights, calls) = (Flights::default(), Calls::default());
        let fly = || flights.fly(request(b"x"), 10, || {}, |request| calls.call(request));
        let (mut a, mut b) = (pin!(fly()), pin!(fly()));
        started(a.as_mut());
        started(b.as_mut());
        calls.answer(Err(KmsError::new(KmsErrorKind::Denied, "X", "why")));
        let (a, b) = tokio::join!(a, b);
        for error in [a.unwrap_err(), b.unwrap_err()] {
            assert_eq!((error.kind(), error.to_string()), (KmsErrorKind::Denied, "X: why".into()));
        }
    }

    #[tokio::test]
    async fn whoever_leaves_strands_nobody() {
        for first_leaves in [true, false] {
            let (flights, calls) = (Flights::default(), Calls::default());
            let fly = || flights.fly(request(b"x"), 10, || {}, |request| calls.call(request));
            let (mut a, mut b) = (Box::pin(fly()), Box::pin(fly()));
            started(a.as_mut());
            started(b.as_mut());
            let stays = if first_leaves {
                drop(a);
                b
            } else {
                drop(b);
                a
            };
            calls.answer(Ok(key()));
            assert_eq!(stays.await.unwrap().len(), 64);
            assert_eq!((calls.made(), flights.count()), (1, 0));
        }
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_is_given_up() {
        let (flights, calls) = (Flights::default(), Calls::default());
        let mut alone =
            Box::pin(flights.fly(request(b"x"), 10, || {}, |request| calls.call(request)));
        started(alone.as_mut());
        drop(alone);
        assert_eq!(flights.count(), 0);
        assert!(calls.answers.lock()[0].is_closed());
    }

    #[tokio::test]
    async fn an_answer_is_for_those_who_asked_before_it_came() {
        let (flights, calls) = (Flights::default(), Calls::default());
        let fly = || flights.fly(request(b"x"), 10, || {}, |request| calls.call(request));
        let (mut slow, mut quick) = (Box::pin(fly()), Box::pin(fly()));
        started(slow.as_mut());
        started(quick.as_mut());
        calls.answer(Ok(key()));
        quick.await.unwrap();
        // `slow` has not looked yet, so the landed flight still exists.
        let mut late = Box::pin(fly());
        started(late.as_mut());
        assert_eq!(calls.made(), 2);
        calls.answer(Ok(key()));
        late.await.unwrap();
        slow.await.unwrap();
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn the_board_is_bounded() {
        let (flights, calls) = (Flights::default(), Calls::default());
        let fly = |blob: &'static [u8]| {
            flights.fly(request(blob), 1, || {}, |request| calls.call(request))
        };
        let (mut a, mut b, mut c) = (Box::pin(fly(b"x")), Box::pin(fly(b"y")), Box::pin(fly(b"y")));
        started(a.as_mut());
        started(b.as_mut());
        started(c.as_mut());
        assert_eq!((flights.count(), calls.made()), (1, 3), "beyond the bound each goes alone");
    }
}
