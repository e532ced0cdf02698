//! Whether to look for the next request before sleeping.

use std::io;

/// Looks for input a few times before sleeping, as long as that pays: waking a sleeping thread
/// costs more than the whole of a small request. It gives way to other threads between looks, and
/// stops by itself where requests are far apart.
#[derive(Debug)]
pub(super) struct Spin {
    limit: u32,
    max: u32,
    skipped: u32,
}

impl Spin {
    /// After this many receives without looking, try again whether it pays.
    const RETRY_AFTER: u32 = 64;

    pub(super) fn new(max: u32) -> Self {
        Self { limit: max, max, skipped: 0 }
    }

    pub(super) fn find(
        &mut self,
        mut look: impl FnMut() -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        if self.limit == 0 {
            self.skipped += 1;
            if self.skipped < Self::RETRY_AFTER || self.max == 0 {
                return Ok(None);
            }
            self.skipped = 0;
            self.limit = self.max;
        }
        for _ in 0..self.limit {
            if let Some(len) = look()? {
                self.limit = (self.limit * 2).min(self.max);
                return Ok(Some(len));
            }
            std::thread::yield_now();
        }
        self.limit /= 2;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(spin: &mut Spin, found_at: Option<u32>) -> u32 {
        let mut looks = 0;
        let found = spin.find(|| {
            looks += 1;
            Ok((found_at == Some(looks)).then_some(1))
        });
        assert_eq!(found.unwrap().is_some(), found_at.is_some_and(|at| at <= looks));
        looks
    }

    #[test]
    fn looking_stops_where_it_does_not_pay_and_comes_back() {
        let mut spin = Spin::new(64);
        let before_sleeping: u32 = (0..7).map(|_| looks(&mut spin, None)).sum();
        assert_eq!(before_sleeping, 64 + 32 + 16 + 8 + 4 + 2 + 1);
        let while_idle: u32 = (1..Spin::RETRY_AFTER).map(|_| looks(&mut spin, None)).sum();
        assert_eq!(while_idle, 0, "an idle connection costs nothing");
        assert_eq!(looks(&mut spin, Some(50)), 50);
        assert_eq!(looks(&mut spin, Some(64)), 64);
    }

    #[test]
    fn zero_turns_it_off() {
        let mut spin = Spin::new(0);
        assert_eq!((0..200).map(|_| looks(&mut spin, None)).sum::<u32>(), 0);
    }
}
