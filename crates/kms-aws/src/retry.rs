//! When a call is tried again: a machine fed with outcomes, the time and random numbers.
//!
//! | class | what happens |
//! |---|---|
//! | throttled, transient | exponential backoff with full jitter, `max_attempts` in all |
//! | propagation | if the request carries grant tokens: short waits inside `propagation_window` |
//! | skew | one more attempt at once, which the SDK signs with the corrected time |
//! | final | none |
//!
//! Nothing is waited for that the call's deadline would cut off. What may have been carried out and
//! must not be carried out twice is not tried again.

use std::time::Duration;

use crate::codes::{Class, Executed};
use crate::settings::AwsKmsSettings;

/// What the retry policy must know of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    /// Carrying it out twice is as good as once.
    pub(crate) repeatable: bool,
    /// It names grants that may not have spread yet.
    pub(crate) waits_for_grants: bool,
}

/// Why a call is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The answer is final.
    Final,
    /// All attempts are used up.
    Attempts,
    /// The next attempt would be after the deadline.
    Deadline,
    /// It may have been carried out, and must not be twice.
    Ambiguous,
    /// The grant has had time enough to spread.
    Propagation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    RetryAfter(Duration),
    Stop(Stop),
}

/// One call's attempts so far.
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    settings: &'a AwsKmsSettings,
    traits: Traits,
    started: Duration,
    attempts: u32,
    passing_failures: u32,
    propagating_since: Option<Duration>,
    propagation_failures: u32,
    skew_corrected: bool,
}

impl<'a> Retry<'a> {
    pub(crate) const fn new(settings: &'a AwsKmsSettings, traits: Traits, now: Duration) -> Self {
        Self {
            settings,
            traits,
            started: now,
            attempts: 0,
            passing_failures: 0,
            propagating_since: None,
            propagation_failures: 0,
            skew_corrected: false,
        }
    }

    /// Begins an attempt: how long it may take.
    pub(crate) fn begin(&mut self, now: Duration) -> Duration {
        self.attempts += 1;
        self.settings.attempt_timeout.min(self.left(now))
    }

    /// Attempts that were begun.
    pub(crate) const fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) const fn elapsed(&self, now: Duration) -> Duration {
        now.saturating_sub(self.started)
    }

    const fn left(&self, now: Duration) -> Duration {
        self.settings.call_deadline.saturating_sub(self.elapsed(now))
    }

    /// What follows on a failed attempt. `random` is uniform over all values.
    pub(crate) fn failed(
        &mut self,
        now: Duration,
        class: Class,
        executed: Executed,
        random: u64,
    ) -> Verdict {
        if class == Class::Final {
            return Verdict::Stop(Stop::Final);
        }
        if executed == Executed::Maybe && !self.traits.repeatable {
            return Verdict::Stop(Stop::Ambiguous);
        }
        let wait = match class {
            Class::Throttled | Class::Transient => {
                self.passing_failures += 1;
                if self.passing_failures >= self.settings.max_attempts {
                    return Verdict::Stop(Stop::Attempts);
                }
                fraction(self.ceiling(self.passing_failures), random)
            }
            Class::Propagation => {
                if !self.traits.waits_for_grants || self.settings.propagation_window.is_zero() {
                    return Verdict::Stop(Stop::Final);
                }
                self.propagation_failures += 1;
                // At least half of the limit, so that the window bounds the number of attempts.
                let half = self.ceiling(self.propagation_failures) / 2;
                let wait = half + fraction(half, random);
                let since = *self.propagating_since.get_or_insert(now);
                let waited = now.saturating_sub(since);
                if wait.is_zero() || waited + wait > self.settings.propagation_window {
                    return Verdict::Stop(Stop::Propagation);
                }
                wait
            }
            Class::Skew if self.skew_corrected => return Verdict::Stop(Stop::Final),
            Class::Skew => {
                self.skew_corrected = true;
                Duration::ZERO
            }
            Class::Final => return Verdict::Stop(Stop::Final),
        };
        if wait >= self.left(now) {
            return Verdict::Stop(Stop::Deadline);
        }
        Verdict::RetryAfter(wait)
    }

    /// The longest wait after the `failures`-th failure of its class: the base, doubled each time.
    fn ceiling(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.settings.backoff_base.saturating_mul(factor).min(self.settings.backoff_cap)
    }
}

/// `random` of 2^64 parts of `whole`.
fn fraction(whole: Duration, random: u64) -> Duration {
    let part = (whole.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Traits = Traits { repeatable: true, waits_for_grants: false };
    const MOST: u64 = u64::MAX;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn settings() -> AwsKmsSettings {
        AwsKmsSettings {
            backoff_base: ms(100),
            backoff_cap: ms(300),
            call_deadline: ms(10_000),
            propagation_window: ms(1000),
            ..AwsKmsSettings::default()
        }
    }

    /// The wait, rounded to milliseconds: full jitter never draws quite all of it.
    fn wait(verdict: Verdict) -> u128 {
        match verdict {
            Verdict::RetryAfter(wait) => wait.as_nanos().div_ceil(1_000_000),
            Verdict::Stop(stop) => panic!("stopped: {stop:?}"),
        }
    }

    #[test]
    fn passing_failures_back_off_up_to_the_cap_and_end_with_the_budget() {
        for class in [Class::Throttled, Class::Transient] {
            let settings = settings();
            let mut retry = Retry::new(&settings, PLAIN, Duration::ZERO);
            for longest in [100, 200, 300, 300] {
                retry.begin(Duration::ZERO);
                let verdict = retry.failed(Duration::ZERO, class, Executed::Maybe, MOST);
                assert_eq!(wait(verdict), longest);
            }
            retry.begin(Duration::ZERO);
            let verdict = retry.failed(Duration::ZERO, class, Executed::Maybe, MOST);
            assert_eq!((verdict, retry.attempts()), (Verdict::Stop(Stop::Attempts), 5));
        }
    }

    #[test]
    fn jitter_is_full() {
        let settings = settings();
        for (random, expected) in [(0, 0), (MOST / 2, 50), (MOST, 100)] {
            let mut retry = Retry::new(&settings, PLAIN, Duration::ZERO);
            let verdict = retry.failed(Duration::ZERO, Class::Throttled, Executed::No, random);
            assert_eq!(wait(verdict), expected);
        }
    }

    #[test]
    fn final_answers_are_final() {
        let settings = settings();
        let mut retry = Retry::new(&settings, PLAIN, Duration::ZERO);
        let verdict = retry.failed(Duration::ZERO, Class::Final, Executed::No, 0);
        assert_eq!(verdict, Verdict::Stop(Stop::Final));
        let verdict = retry.failed(Duration::ZERO, Class::Propagation, Executed::No, 0);
        assert_eq!(verdict, Verdict::Stop(Stop::Final), "no grant token, no grant to wait for");
    }

    #[test]
    fn nothing_is_waited_for_past_the_deadline() {
        let settings = settings();
        let mut retry = Retry::new(&settings, PLAIN, ms(5000));
        assert_eq!(retry.begin(ms(5000)), settings.attempt_timeout);
        assert_eq!(retry.begin(ms(14_000)), ms(1000), "an attempt ends with the call");
        assert_eq!(retry.begin(ms(16_000)), Duration::ZERO);
        let verdict = retry.failed(ms(14_950), Class::Transient, Executed::No, MOST);
        assert_eq!(verdict, Verdict::Stop(Stop::Deadline));
        let mut retry = Retry::new(&settings, PLAIN, ms(5000));
        let verdict = retry.failed(ms(14_950), Class::Transient, Executed::No, MOST / 4);
        assert_eq!(wait(verdict), 25, "a wait that ends in time is waited");
        let verdict = retry.failed(ms(15_000), Class::Skew, Executed::No, 0);
        assert_eq!(verdict, Verdict::Stop(Stop::Deadline));
    }

    #[test]
    fn what_must_not_happen_twice_is_repeated_only_if_it_did_not_happen() {
        let settings = settings();
        let once = Traits { repeatable: false, waits_for_grants: true };
        let mut retry = Retry::new(&settings, once, Duration::ZERO);
        for (class, expected) in
            [(Class::Throttled, 100), (Class::Transient, 200), (Class::Propagation, 100)]
        {
            let verdict = retry.failed(Duration::ZERO, class, Executed::No, MOST);
            assert_eq!(wait(verdict), expected);
        }
        let verdict = retry.failed(Duration::ZERO, Class::Transient, Executed::Maybe, 0);
        assert_eq!(verdict, Verdict::Stop(Stop::Ambiguous));
    }

    #[test]
    fn grants_have_a_window_to_spread_whatever_the_random_numbers() {
        for random in [0, MOST] {
            let settings = settings();
            let traits = Traits { repeatable: true, waits_for_grants: true };
            let mut retry = Retry::new(&settings, traits, Duration::ZERO);
            let mut now = ms(400);
            let mut attempts = 0;
            loop {
                attempts += 1;
                match retry.failed(now, Class::Propagation, Executed::No, random) {
                    Verdict::RetryAfter(wait) => now += wait,
                    Verdict::Stop(stop) => break assert_eq!(stop, Stop::Propagation),
                }
            }
            assert!((3..=9).contains(&attempts), "{attempts}");
            assert!(now <= ms(1400), "{now:?}: the window begins with the first denial");
        }
        let none = AwsKmsSettings { propagation_window: Duration::ZERO, ..settings() };
        let traits = Traits { repeatable: true, waits_for_grants: true };
        let mut retry = Retry::new(&none, traits, Duration::ZERO);
        let verdict = retry.failed(Duration::ZERO, Class::Propagation, Executed::No, 0);
        assert_eq!(verdict, Verdict::Stop(Stop::Final));
        // No base, no wait: the window must still end.
        let hasty = AwsKmsSettings { backoff_base: Duration::ZERO, ..settings() };
        let mut retry = Retry::new(&hasty, traits, Duration::ZERO);
        let verdict = retry.failed(Duration::ZERO, Class::Propagation, Executed::No, 0);
        assert_eq!(verdict, Verdict::Stop(Stop::Propagation));
    }

    #[test]
    fn a_clock_is_corrected_once() {
        let settings = settings();
        let mut retry = Retry::new(&settings, PLAIN, Duration::ZERO);
        let verdict = retry.failed(Duration::ZERO, Class::Skew, Executed::No, MOST);
        assert_eq!(verdict, Verdict::RetryAfter(Duration::ZERO));
        let verdict = retry.failed(Duration::ZERO, Class::Skew, Executed::No, MOST);
        assert_eq!(verdict, Verdict::Stop(Stop::Final));
    }

    #[test]
    fn ceilings_do_not_overflow() {
        let settings = AwsKmsSettings { max_attempts: u32::MAX, ..settings() };
        let mut retry = Retry::new(&settings, PLAIN, Duration::ZERO);
        retry.passing_failures = 4_000_000_000;
        let verdict = retry.failed(Duration::ZERO, Class::Transient, Executed::No, MOST);
        assert_eq!(wait(verdict), 300);
    }
}
