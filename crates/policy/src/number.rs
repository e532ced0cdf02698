//! Numbers in conditions: decimals, compared exactly.

/// Digits after the point that count.
const FRACTION_DIGITS: usize = 9;
const INTEGER_DIGITS_MAX: usize = 24;

/// A decimal as billionths, so that 0.1 is 0.1 and 2^53 + 1 is not 2^53.
pub(crate) fn parse(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_sound = (1..=INTEGER_DIGITS_MAX).contains(&integer.len())
        && (1..=FRACTION_DIGITS).contains(&fraction.len())
        && integer.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !is_sound {
        return None;
    }
    let zeros = std::iter::repeat_n(b'0', FRACTION_DIGITS - fraction.len());
    let value = integer
        .bytes()
        .chain(fraction.bytes())
        .chain(zeros)
        .fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_compare_exactly() {
        assert_eq!(parse("1"), parse("1.000"));
        assert_eq!(parse("-0"), parse("0"));
        assert!(parse("9007199254740993") > parse("9007199254740992"));
        assert!(parse("-1.5") < parse("-1.25"));
        for bad in ["", "-", ".", "1.", ".5", "1e3", "0x1", "1.0000000001", &"1".repeat(25)] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
