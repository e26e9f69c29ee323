//! How a value lies in Redis, and the script that never replaces a newer one by an older one.
//!
//! A value is `version|schema|time|key|json`: the script reads the version without parsing JSON, the reader checks schema and
//! key before it trusts the rest.

use std::sync::LazyLock;

/// A cached value, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoredAs<'a> {
    pub(super) version: i64,
    pub(super) schema: &'a str,
    /// When it was written, in milliseconds since 1970.
    pub(super) written_ms: i64,
    pub(super) key: &'a str,
    pub(super) json: &'a str,
}

impl<'a> StoredAs<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.splitn(5, '|');
        let version = parts.next()?.parse().ok()?;
        let (schema, written_ms) = (parts.next()?, parts.next()?.parse().ok()?);
        Some(Self { version, schema, written_ms, key: parts.next()?, json: parts.next()? })
    }

    pub(super) fn write(&self) -> String {
        format!("{}|{}|{}|{}|{}", self.version, self.schema, self.written_ms, self.key, self.json)
    }
}

/// For each key: keeps what is there when its version is higher and its schema the same (answer 1); leaves a key alone that
/// is not there, if told to write over others only (2); else writes (0).
/// Versions stay below 2^53, where Lua's numbers are exact. What is no string, or no value of ours, is replaced.
const WRITE_IF_NEWER: &str = r"
local kept = {}
for i, key in ipairs(KEYS) do
    local version, value, ttl = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
    local there = redis.pcall('GET', key)
    kept[i] = 0
    if type(there) == 'string' then
        local there_version, there_schema = string.match(there, '^(%d+)|([^|]*)|')
        local schema = string.match(value, '^%d+|([^|]*)|')
        if there_version and there_schema == schema and tonumber(there_version) > tonumber(version) then
            kept[i] = 1
        end
    elseif not there and ARGV[1] == 'over' then
        kept[i] = 2
    end
    if kept[i] == 0 then
        redis.call('SET', key, value, 'PX', ttl)
    end
end
return kept
";

/// Which keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// All.
    Any,
    /// Those that are there.
    Present,
}

impl Keys {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Present => "over",
        }
    }
}

/// What became of a key.
pub(super) const NEWER_KEPT: i64 = 1;
/// See [`NEWER_KEPT`].
pub(super) const NOT_THERE: i64 = 2;

pub(super) fn write_if_newer() -> &'static redis::Script {
    static SCRIPT: LazyLock<redis::Script> = LazyLock::new(|| redis::Script::new(WRITE_IF_NEWER));
    &SCRIPT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_whatever_its_json_holds() {
        let stored = StoredAs {
            version: 7,
            schema: "1-ab",
            written_ms: 12,
            key: "claimrisk:claim:12",
            json: r#"{"a":"x|y|z"}"#,
        };
        assert_eq!(StoredAs::read(stored.write().as_bytes()), Some(stored));
    }

    #[test]
    fn what_is_no_value_of_ours_does_not_read() {
        for bytes in [&b""[..], b"garbage", b"x|1|k|{}", b"1|2|3", b"1|2|3|4", b"1|2|x|4|5", b"\xff\xfe|1|2|3|4"] {
            assert_eq!(StoredAs::read(bytes), None);
        }
    }
}
