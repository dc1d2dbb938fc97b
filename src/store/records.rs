//! One [`Write`] as bytes (a version, then its packed form or JSON), its key in sled, and the checksums used all over the
//! store.

use std::sync::Arc;

use jovis_actors::{
    domain::{GroupId, ShareKey, SharedWith, UserId},
    store::Write,
};
use ring::digest;
use thiserror::Error;

use super::{
    migrate,
    packed::{self, Known},
};

/// Version of the form of a record. An older one is read for ever; a newer one is refused. 1: JSON; 2: users and tokens
/// [packed](packed).
pub(super) const VERSION: u8 = 2;

/// Longest record, in bytes. A change that would make a longer one is refused before it is decided on with others.
pub(super) const LIMIT: usize = 256 * 1024;

/// First 16 bytes of a SHA-256: against accidents, not against somebody who can write our files.
pub(super) type Sum = [u8; 16];

/// Why bytes are not a record, or a write cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum BadRecord {
    /// Made by a release that is newer than this one.
    #[error("a record has version {0}, this release knows versions up to {VERSION}")]
    Newer(u8),
    /// Not a record.
    #[error("a record cannot be read: {0}")]
    Unreadable(String),
    /// Longer than [`LIMIT`].
    #[error("a record of {0} bytes is longer than {LIMIT}")]
    TooLong(usize),
}

/// The checksum of these parts, one after the other.
pub(super) fn sum(parts: &[&[u8]]) -> Sum {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    first_16(context.finish().as_ref())
}

/// Shortens a SHA-256.
pub(super) fn first_16(full: &[u8]) -> Sum {
    full[..16].try_into().expect("a SHA-256 has 32 bytes")
}

/// A write as bytes.
pub(super) fn encode(write: &Write) -> Result<Vec<u8>, BadRecord> {
    let mut bytes = Vec::with_capacity(160);
    bytes.push(VERSION);
    if !packed::encode(write, &mut bytes)? {
        serde_json::to_writer(&mut bytes, write)
            .map_err(|error| BadRecord::Unreadable(error.to_string()))?;
    }
    if bytes.len() > LIMIT { Err(BadRecord::TooLong(bytes.len())) } else { Ok(bytes) }
}

/// Bytes as a write.
pub(super) fn decode(bytes: &[u8]) -> Result<Write, BadRecord> {
    Reader::default().decode(bytes)
}

/// Reads many records, and lets those that say the same share it.
#[derive(Debug, Default)]
pub(super) struct Reader(Known);

impl Reader {
    /// As [`decode`].
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Result<Write, BadRecord> {
        let mut write = match bytes.split_first() {
            Some((&VERSION, rest)) if packed::is_packed(rest) => {
                return packed::decode(rest, &mut self.0);
            }
            Some((&VERSION, json)) => serde_json::from_slice(json)
                .map_err(|error| BadRecord::Unreadable(error.to_string()))?,
            Some((&newer, _)) if newer > VERSION => return Err(BadRecord::Newer(newer)),
            Some((&older, rest)) => migrate::decode(older, rest)?,
            None => return Err(BadRecord::Unreadable("no bytes".to_owned())),
        };
        if let Write::Token(token) = &mut write
            && let Some(token) = Arc::get_mut(token)
        {
            self.0.share(token);
        }
        Ok(write)
    }
}

/// Where a write goes in sled, and whether it ends what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Kind byte, then the record's own key. Kind 0 is reserved for sled's own bookkeeping.
    pub(super) key: Vec<u8>,
    /// True: the record at this key is no more.
    pub(super) gone: bool,
}

/// Key of the highest id given out.
pub(super) const IDS: &[u8] = &[6];

/// See [`Place`].
pub(super) fn place(write: &Write) -> Place {
    let number = |kind: u8, id: u64| [&[kind][..], &id.to_be_bytes()].concat();
    let server = |key: &jovis_actors::domain::ServerKey| {
        [&number(2, key.user.0)[..], key.name.as_str().as_bytes()].concat()
    };
    let named = |kind: u8, name: &str| [&[kind], name.as_bytes()].concat();
    let member =
        |group: GroupId, user: UserId| [&number(8, group.0)[..], &user.0.to_be_bytes()].concat();
    // Whom it is with has one length, so that no name runs into it.
    let share_key = |key: &ShareKey| {
        let (kind, id) = match key.with {
            SharedWith::User(user) => (b'u', user.0),
            SharedWith::Group(group) => (b'g', group.0),
        };
        let server = key.server.name.as_str().as_bytes();
        [&number(10, key.server.user.0)[..], &[kind], &id.to_be_bytes(), server].concat()
    };
    let (key, gone) = match write {
        Write::User(user) => (number(1, user.id.0), false),
        Write::UserGone(id) => (number(1, id.0), true),
        Write::Server(it) => (server(&it.key), false),
        Write::ServerGone(key) => (server(key), true),
        Write::Token(token) => (number(3, token.id.0), false),
        Write::TokenGone(id) => (number(3, id.0), true),
        Write::Client(client) => (named(4, client.id.as_str()), false),
        Write::ClientGone(id) => (named(4, id.as_str()), true),
        Write::Code(code) => ([&[5][..], &code.hash.0].concat(), false),
        Write::CodeGone(hash) => ([&[5][..], &hash.0].concat(), true),
        Write::IdsUsed(_) => (IDS.to_vec(), false),
        Write::Group(group) => (number(7, group.id.0), false),
        Write::GroupGone(id) => (number(7, id.0), true),
        Write::Member(group, user) => (member(*group, *user), false),
        Write::MemberGone(group, user) => (member(*group, *user), true),
        Write::Service(service) => (named(9, service.name.as_str()), false),
        Write::ServiceGone(name) => (named(9, name.as_str()), true),
        Write::Share(share) => (share_key(&share.key), false),
        Write::ShareGone(key) => (share_key(key), true),
        Write::ShareCode(code) => (number(11, code.id.0), false),
        Write::ShareCodeGone(id) => (number(11, id.0), true),
        Write::Announcement(_) => (vec![12], false),
        Write::AnnouncementGone => (vec![12], true),
        Write::Maintenance(_) => (vec![13], false),
        Write::MaintenanceGone => (vec![13], true),
        Write::External(it) => (number(14, it.user.0), false),
        Write::ExternalGone(user) => (number(14, user.0), true),
    };
    Place { key, gone }
}

/// The highest id that this write uses up; 0 if none.
pub(super) fn id_used(write: &Write) -> u64 {
    match write {
        Write::User(user) => user.id.0,
        Write::Token(token) => token.id.0,
        Write::IdsUsed(id) => *id,
        Write::Group(group) => group.id.0,
        Write::ShareCode(code) => code.id.0,
        Write::UserGone(_)
        | Write::Server(_)
        | Write::ServerGone(_)
        | Write::TokenGone(_)
        | Write::Client(_)
        | Write::ClientGone(_)
        | Write::Code(_)
        | Write::CodeGone(_)
        | Write::GroupGone(_)
        | Write::Member(..)
        | Write::MemberGone(..)
        | Write::Service(_)
        | Write::ServiceGone(_)
        | Write::Share(_)
        | Write::ShareGone(_)
        | Write::ShareCodeGone(_)
        | Write::Announcement(_)
        | Write::AnnouncementGone
        | Write::Maintenance(_)
        | Write::MaintenanceGone
        | Write::External(_)
        | Write::ExternalGone(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::one_of_each;

    /// One record of each kind as JSON, a line each, which was their form in version 1.
    const OLD: &str = include_str!("../../tests/fixtures/records-1.txt");
    /// The same in version 2: what is packed in hexadecimal digits.
    const PRESENT: &str = include_str!("../../tests/fixtures/records-2.txt");

    #[test]
    fn records_of_older_releases_load() {
        let old: Vec<Write> =
            OLD.lines().map(|line| decode(&[&[1], line.as_bytes()].concat()).unwrap()).collect();
        // There were no groups, services and shares then.
        assert_eq!(old, one_of_each()[..11]);
        let bytes = |line: &str| match line.strip_prefix("packed ") {
            Some(digits) => {
                let pairs = digits.as_bytes().chunks(2).map(|it| std::str::from_utf8(it).unwrap());
                pairs.map(|it| u8::from_str_radix(it, 16).unwrap()).collect()
            }
            None => line.as_bytes().to_vec(),
        };
        let old: Vec<Write> =
            PRESENT.lines().map(|line| decode(&[vec![2], bytes(line)].concat()).unwrap()).collect();
        assert_eq!(old, one_of_each());
    }

    #[test]
    fn what_is_written_is_what_the_fixture_holds() {
        let text = |bytes: Vec<u8>| match &bytes[1..] {
            it if packed::is_packed(it) => {
                let digits: String = it.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("packed {digits}")
            }
            json => String::from_utf8(json.to_vec()).unwrap(),
        };
        let new: Vec<String> =
            one_of_each().iter().map(|write| text(encode(write).unwrap())).collect();
        let old: Vec<&str> = PRESENT.lines().collect();
        assert_eq!(
            new, old,
            "a changed form needs a new version, a decoder for the old, a new fixture"
        );
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(decode(&[3, b'{', b'}']), Err(BadRecord::Newer(3)));
        for bad in [&b""[..], b"\0", b"\x02", b"\x02{}", b"\x02{\"User\":1}", b"\x02\x03"] {
            assert!(matches!(decode(bad), Err(BadRecord::Unreadable(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_record_and_its_end_share_a_key_and_no_other_has_it() {
        let places: Vec<Place> = one_of_each().iter().map(place).collect();
        let pairs = places[..10].chunks(2).chain(places[11..].chunks(2));
        for pair in pairs {
            assert_eq!(pair[0].key, pair[1].key);
            assert!(!pair[0].gone && pair[1].gone);
        }
        let mut keys: Vec<_> = places.iter().map(|it| it.key.clone()).collect();
        keys.dedup();
        assert_eq!(keys.len(), 14);
        assert!(keys.iter().all(|key| key[0] != 0));
    }
}
