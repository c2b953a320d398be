//! The versions, and the choice between them.

/// A version of STOMP. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 1.0: no escapes, and spaces around names and values count for nothing.
    V1_0,
    /// 1.1: three escapes.
    V1_1,
    /// 1.2: four escapes; a message is acknowledged by its `ack` header.
    V1_2,
}

impl Version {
    /// Every version, the oldest first.
    pub const ALL: [Self; 3] = [Self::V1_0, Self::V1_1, Self::V1_2];

    /// As the headers `version` and `accept-version` write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }

    /// The WebSocket subprotocol.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::V1_0 => "v10.stomp",
            Self::V1_1 => "v11.stomp",
            Self::V1_2 => "v12.stomp",
        }
    }

    /// The version that a WebSocket subprotocol names.
    pub fn of_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.subprotocol() == name)
    }

    /// The highest version in `accept_version`, a list with commas. Without one it is 1.0. `None`: none in common.
    pub fn negotiate(accept_version: Option<&str>) -> Option<Self> {
        let Some(list) = accept_version else {
            return Some(Self::V1_0);
        };
        let accepted = |version: &Self| list.split(',').any(|name| name.trim() == version.name());
        Self::ALL.into_iter().rev().find(accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_taken() {
        let cases = [
            (None, Some(Version::V1_0)),
            (Some("1.0"), Some(Version::V1_0)),
            (Some("1.2,1.1,1.0"), Some(Version::V1_2)),
            (Some("1.0, 1.1"), Some(Version::V1_1)),
            (Some("1.1,1.3,2.0"), Some(Version::V1_1)),
            (Some("1.3"), None),
            (Some(""), None),
            (Some("1.21"), None),
        ];
        for (accept_version, version) in cases {
            assert_eq!(Version::negotiate(accept_version), version, "{accept_version:?}");
        }
    }

    #[test]
    fn every_version_has_a_subprotocol_of_its_own() {
        for version in Version::ALL {
            assert_eq!(Version::of_subprotocol(version.subprotocol()), Some(version));
        }
        assert_eq!(Version::of_subprotocol("v13.stomp"), None);
    }
}
