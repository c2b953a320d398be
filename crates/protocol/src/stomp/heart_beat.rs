//! The header `heart-beat`: what each side sends, and how often.

/// A `heart-beat` header that is not two numbers of milliseconds, `cx,cy`, each below 2^32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("heart-beat is not two numbers of milliseconds")]
pub struct BadHeartBeat;

/// The two numbers of a `heart-beat` header, in milliseconds: how often its sender can send, and how often it wants to
/// hear something. 0: not at all.
///
/// # Errors
/// It is anything else than two numbers with a comma between them.
pub fn parse(header: &str) -> Result<(u64, u64), BadHeartBeat> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u32>().ok()).flatten().map(u64::from).ok_or(BadHeartBeat)
    };
    let (sends, wants) = header.split_once(',').ok_or(BadHeartBeat)?;
    Ok((number(sends)?, number(wants)?))
}

/// How often the client will send something, and how often the node must, in milliseconds; 0: not at all. Each is the
/// pair of what that side can send and what it wants to hear.
pub fn negotiate(client: (u64, u64), server: (u64, u64)) -> (u64, u64) {
    let every = |sends: u64, wanted: u64| if sends == 0 || wanted == 0 { 0 } else { sends.max(wanted) };
    (every(client.0, server.1), every(server.0, client.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_and_nothing_else() {
        assert_eq!(parse("0,0"), Ok((0, 0)));
        assert_eq!(parse("10000,4294967295"), Ok((10_000, 4_294_967_295)));
        for bad in ["", ",", "1", "1,", ",1", "1,2,3", "1, 2", "+1,2", "-1,2", "1,x", "1.5,2", "4294967296,0"] {
            assert_eq!(parse(bad), Err(BadHeartBeat), "{bad}");
        }
    }

    #[test]
    fn each_direction_is_as_slow_as_the_slower_and_off_where_one_side_says_so() {
        assert_eq!(negotiate((10_000, 30_000), (25_000, 25_000)), (25_000, 30_000));
        assert_eq!(negotiate((0, 10_000), (25_000, 25_000)), (0, 25_000));
        assert_eq!(negotiate((10_000, 0), (25_000, 25_000)), (25_000, 0));
        assert_eq!(negotiate((10_000, 10_000), (0, 25_000)), (25_000, 0));
    }
}
