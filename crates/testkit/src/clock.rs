//! A clock that moves only when it is told to.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sealvol_core::{Clock, UnixMillis};

/// The wall time at which every [`SimClock::new`] starts: 2026-01-01T00:00:00Z.
const START: UnixMillis = UnixMillis(1_767_225_600_000);

#[derive(Debug)]
struct State {
    wall_start: UnixMillis,
    elapsed: Duration,
}

/// A manual clock. Clones share their time.
#[derive(Debug, Clone)]
pub struct SimClock {
    state: Arc<Mutex<State>>,
}

impl SimClock {
    /// A clock that stands at the start of 2026.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(START)
    }

    /// A clock that stands at `wall`.
    #[must_use]
    pub fn starting_at(wall: UnixMillis) -> Self {
        let state = State { wall_start: wall, elapsed: Duration::ZERO };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        self.state.lock().elapsed += by;
    }

    /// Sets the wall time, also backwards, as an administrator may. Monotonic time is unaffected.
    pub fn set_wall(&self, wall: UnixMillis) {
        let mut state = self.state.lock();
        let elapsed = u64::try_from(state.elapsed.as_millis()).unwrap_or(u64::MAX);
        state.wall_start = UnixMillis(wall.0.saturating_sub(elapsed));
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SimClock {
    fn now(&self) -> UnixMillis {
        let state = self.state.lock();
        let elapsed = u64::try_from(state.elapsed.as_millis()).unwrap_or(u64::MAX);
        UnixMillis(state.wall_start.0.saturating_add(elapsed))
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_until_advanced() {
        let clock = SimClock::new();
        let other = clock.clone();
        assert_eq!((clock.now(), clock.monotonic()), (START, Duration::ZERO));
        other.advance(Duration::from_millis(1500));
        assert_eq!(clock.now(), UnixMillis(START.0 + 1500));
        assert_eq!(clock.monotonic(), Duration::from_millis(1500));
        clock.set_wall(UnixMillis(7_000_000));
        assert_eq!(other.now(), UnixMillis(7_000_000));
        assert_eq!(other.monotonic(), Duration::from_millis(1500));
    }
}
