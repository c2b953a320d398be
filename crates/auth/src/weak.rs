//! Ed25519 public keys for which anybody can sign: points of small order (RFC 8032, 5.1.7 leaves them to the verifier).

/// y-coordinates of the points whose order divides 8, little-endian, also as they can be written beyond the field's
/// prime. The sign of x, the highest bit, makes no difference.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Whether a public key is such a point. `key` ends with the 32 bytes of RFC 8032, 5.1.2.
pub(crate) fn is_weak(key: &[u8]) -> bool {
    let Some(point) = key.last_chunk::<32>() else { return false };
    let mut y = *point;
    y[31] &= 0x7f;
    let hex: String = y.iter().map(|byte| format!("{byte:02x}")).collect();
    SMALL_ORDER.contains(&hex.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_small_order_are_weak_whatever_their_sign() {
        for weak in SMALL_ORDER {
            let bytes = (0..32).map(|at| u8::from_str_radix(&weak[2 * at..2 * at + 2], 16).unwrap());
            let mut point: Vec<u8> = bytes.collect();
            assert!(is_weak(&point), "{weak}");
            point[31] |= 0x80;
            assert!(is_weak(&point), "{weak}");
            point[31] ^= 0x01;
            assert!(!is_weak(&point), "{weak}");
        }
        // The public key of RFC 8032, 7.1, test 1.
        let good = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let good: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&good[2 * at..2 * at + 2], 16).unwrap()).collect();
        assert!(!is_weak(&good));
    }
}
