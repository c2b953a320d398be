//! From when until when a certificate is valid (RFC 5280, section 4.1.2.5), read from its DER. Everything else in a
//! certificate is for the clients to judge.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version, where it is not the first.
const VERSION: u8 = 0xa0;

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// Unix seconds; none before 1970.
    pub(crate) not_before: u64,
    /// Unix seconds.
    pub(crate) not_after: u64,
}

impl Validity {
    /// What the certificate says; none if it is not one.
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = element(certificate, SEQUENCE)?;
        let (mut fields, _) = element(certificate, SEQUENCE)?;
        if fields.first() == Some(&VERSION) {
            (_, fields) = element(fields, VERSION)?;
        }
        // The serial number, the signature's algorithm, the issuer.
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            (_, fields) = element(fields, tag)?;
        }
        let (validity, _) = element(fields, SEQUENCE)?;
        let (not_before, rest) = time(validity)?;
        let (not_after, _) = time(rest)?;
        Some(Self { not_before, not_after })
    }

    /// Whether it is valid at a time.
    pub(crate) fn contains(self, time: SystemTime) -> bool {
        let now = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// The content of the element that `der` begins with, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_at_checked(2)?;
    if head[0] != tag {
        return None;
    }
    let (length, rest) = match usize::from(head[1]) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (digits, rest) = rest.split_at_checked(long - 0x80)?;
            (digits.iter().try_fold(0_usize, |sum, digit| sum.checked_mul(256)?.checked_add((*digit).into()))?, rest)
        }
    };
    rest.split_at_checked(length)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, in Unix seconds, and what follows it.
fn time(der: &[u8]) -> Option<(u64, &[u8])> {
    let is_long = *der.first()? == GENERALIZED_TIME;
    let (text, rest) = element(der, if is_long { GENERALIZED_TIME } else { UTC_TIME })?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) || text.len() != if is_long { 14 } else { 12 } {
        return None;
    }
    let (year, text) = text.split_at(text.len() - 10);
    let year: u64 = year.parse().ok()?;
    // Two digits mean 1950 to 2049.
    let year = if is_long { year } else { year + if year < 50 { 2000 } else { 1900 } };
    let part = |index: usize| text[index..index + 2].parse::<u64>().ok();
    let days = days_before(year, part(0)?, part(2)?)?;
    let seconds = part(4)? * 3600 + part(6)? * 60 + part(8)?;
    Some((days * 86_400 + seconds, rest))
}

/// How many days lie between 1970 and a date; none before 1970.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    // Years that begin in March end with the day that leaps.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day.checked_sub(1)?;
    Some(days.saturating_sub(719_468))
}

/// The date and time that `seconds` of Unix time are, for people.
pub(crate) fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn validity(from: (i32, u8, u8), until: (i32, u8, u8)) -> Option<Validity> {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Validity::of(certificate.der())
    }

    #[test]
    fn both_ways_to_write_a_time_are_read() {
        let found = validity((2024, 2, 29), (2026, 11, 21)).unwrap();
        assert_eq!(found, Validity { not_before: 1_709_164_800, not_after: 1_795_219_200 });
        let found = validity((1970, 1, 1), (2100, 3, 1)).unwrap();
        assert_eq!(found, Validity { not_before: 0, not_after: 4_107_542_400 });
        assert_eq!(validity((1960, 1, 1), (9999, 12, 31)).unwrap().not_before, 0);
    }

    #[test]
    fn a_validity_contains_its_ends() {
        let validity = Validity { not_before: 10, not_after: 20 };
        let contains = |seconds| validity.contains(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!([9, 10, 20, 21].map(contains), [false, true, true, false]);
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let certificate = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert;
        for length in 0..120 {
            assert_eq!(Validity::of(&certificate.der()[..length]), None);
        }
        assert_eq!(Validity::of(&[0x30, 0xff]), None);
        assert_eq!(Validity::of(&[0x30, 0x80, 0x30]), None);
    }
}
