//! Whom a proxy speaks for: the addresses in `X-Forwarded-For` → the client's. Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// A proxy that is trusted has sent something that is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Whether one of `trusted` has this address.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The client that a trusted proxy speaks for: the last address that is not itself trusted. What stands before it was
/// written by the client, and is not read. None if there is no such address.
pub(crate) fn client<'v>(
    values: impl DoubleEndedIterator<Item = &'v str>,
    trusted: &[IpNet],
) -> Result<Option<IpAddr>, Unreadable> {
    for item in values.rev().flat_map(|value| value.rsplit(',')).map(str::trim).filter(|item| !item.is_empty()) {
        let address = parse(item).ok_or(Unreadable)?;
        if !is_trusted(address, trusted) {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

/// An address, perhaps in brackets, perhaps with a port: proxies differ.
fn parse(item: &str) -> Option<IpAddr> {
    let in_brackets = || item.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || item.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = item.parse().ok().or_else(in_brackets).or_else(with_port)?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[&str]) -> Result<Option<String>, Unreadable> {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        Ok(client(values.iter().copied(), &trusted)?.map(|address| address.to_string()))
    }

    fn address(address: &str) -> Result<Option<String>, Unreadable> {
        Ok(Some(address.to_owned()))
    }

    #[test]
    fn the_last_address_that_is_not_trusted_is_the_clients() {
        assert_eq!(found(&["203.0.113.7"]), address("203.0.113.7"));
        assert_eq!(found(&["198.51.100.1, 203.0.113.7 ,10.1.2.3"]), address("203.0.113.7"));
        assert_eq!(found(&["198.51.100.1", "203.0.113.7, fd00::1"]), address("203.0.113.7"), "occurrences are joined");
        assert_eq!(found(&["203.0.113.7, 10.1.2.3", ", ,"]), address("203.0.113.7"), "empty items do not count");
    }

    #[test]
    fn what_a_client_wrote_before_it_is_not_read() {
        assert_eq!(found(&["<script>, 10.0.0.1, 203.0.113.7"]), address("203.0.113.7"));
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_understood() {
        assert_eq!(found(&["203.0.113.7:4711"]), address("203.0.113.7"));
        assert_eq!(found(&["2001:db8::7"]), address("2001:db8::7"));
        assert_eq!(found(&["[2001:db8::7]"]), address("2001:db8::7"));
        assert_eq!(found(&["[2001:db8::7]:443"]), address("2001:db8::7"));
        assert_eq!(found(&["203.0.113.7, ::ffff:10.0.0.1"]), address("203.0.113.7"));
    }

    #[test]
    fn only_trusted_addresses_or_none_are_no_client() {
        for values in [&[][..], &[""], &["10.0.0.1, fd00::1"]] {
            assert_eq!(found(values), Ok(None), "{values:?}");
        }
    }

    #[test]
    fn rubbish_is_unreadable() {
        for value in ["unknown", "203.0.113.7, _hidden", "300.1.1.1", "10.0.0.1 10.0.0.2", "203.0.113.7;10.0.0.1"] {
            assert_eq!(found(&[value]), Err(Unreadable), "{value}");
        }
    }
}
