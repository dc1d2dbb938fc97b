//! Users and tokens as few bytes: there may be a million, and every start reads them all. Other records stay JSON.
//!
//! ```text
//! kind u8 | fields: tag u8, then a number (even tag) or a length and so many bytes (odd tag)
//! ```
//!
//! Numbers and lengths take seven bits a byte, lowest first; moments are folded so that small negative ones are small too.
//! A field that is not there has its default, one that is not known is refused. To add a field: a tag nobody had, in
//! writing and reading, and what `records` asks for whenever a form changes. A tag is never given twice.

use std::{borrow::Borrow, collections::HashSet, hash::Hash, sync::Arc};

use jovis_actors::{
    domain::{
        ClientId, Moment, Owner, Scope, ServiceName, Token, TokenHash, TokenId, User, UserId,
        Username,
    },
    store::Write,
};

use super::records::BadRecord;

/// Kinds, by the first byte. They are those of `records::place`; JSON begins with a brace.
const USER: u8 = 1;
const TOKEN: u8 = 3;

/// Fields of a user.
mod user {
    pub(super) const ID: u8 = 0;
    pub(super) const NAME: u8 = 1;
    pub(super) const ADMIN: u8 = 2;
    pub(super) const COOKIE: u8 = 3;
    pub(super) const CREATED: u8 = 4;
    pub(super) const INFO: u8 = 5;
    pub(super) const ACTIVITY: u8 = 6;
}

/// Fields of a token.
mod token {
    pub(super) const ID: u8 = 0;
    pub(super) const HASH: u8 = 1;
    pub(super) const USER: u8 = 2;
    pub(super) const SERVICE: u8 = 3;
    pub(super) const CREATED: u8 = 4;
    /// Once for each.
    pub(super) const SCOPE: u8 = 5;
    pub(super) const EXPIRES: u8 = 6;
    pub(super) const NOTE: u8 = 7;
    pub(super) const ACTIVITY: u8 = 8;
    pub(super) const CLIENT: u8 = 9;
    pub(super) const SESSION: u8 = 11;
}

/// Appends the packed form, if the record is of a kind that has one. True if so.
pub(super) fn encode(write: &Write, out: &mut Vec<u8>) -> Result<bool, BadRecord> {
    let mut out = Fields(out);
    match write {
        Write::User(it) => {
            let User { id, name, admin, created, last_activity, cookie_id, user_info } = &**it;
            out.0.push(USER);
            out.number(user::ID, id.0);
            out.bytes(user::NAME, name.as_str().as_bytes());
            if *admin {
                out.number(user::ADMIN, 1);
            }
            out.moment(user::CREATED, Some(*created));
            out.moment(user::ACTIVITY, *last_activity);
            out.bytes(user::COOKIE, cookie_id.as_bytes());
            if let Some(info) = user_info {
                let info = serde_json::to_vec(info);
                out.bytes(user::INFO, &info.map_err(|error| unreadable(&error.to_string()))?);
            }
        }
        Write::Token(it) => {
            let Token {
                id,
                owner,
                hash,
                scopes,
                created,
                expires_at,
                last_activity,
                note,
                client,
                session,
            } = &**it;
            out.0.push(TOKEN);
            out.number(token::ID, id.0);
            match owner {
                Owner::User(user) => out.number(token::USER, user.0),
                Owner::Service(name) => out.bytes(token::SERVICE, name.as_str().as_bytes()),
            }
            out.bytes(token::HASH, &hash.0);
            for scope in scopes.iter() {
                out.bytes(token::SCOPE, scope.as_str().as_bytes());
            }
            out.moment(token::CREATED, Some(*created));
            out.moment(token::EXPIRES, *expires_at);
            out.moment(token::ACTIVITY, *last_activity);
            if !note.is_empty() {
                out.bytes(token::NOTE, note.as_bytes());
            }
            if let Some(client) = client {
                out.bytes(token::CLIENT, client.as_str().as_bytes());
            }
            if let Some(session) = session {
                out.bytes(token::SESSION, session.as_bytes());
            }
        }
        Write::UserGone(_)
        | Write::Server(_)
        | Write::ServerGone(_)
        | Write::TokenGone(_)
        | Write::Client(_)
        | Write::ClientGone(_)
        | Write::Code(_)
        | Write::CodeGone(_)
        | Write::IdsUsed(_)
        | Write::Group(_)
        | Write::GroupGone(_)
        | Write::Member(..)
        | Write::MemberGone(..)
        | Write::Service(_)
        | Write::ServiceGone(_)
        | Write::Share(_)
        | Write::ShareGone(_)
        | Write::ShareCode(_)
        | Write::ShareCodeGone(_)
        | Write::Announcement(_)
        | Write::AnnouncementGone
        | Write::Maintenance(_)
        | Write::MaintenanceGone
        | Write::External(_)
        | Write::ExternalGone(_) => return Ok(false),
    }
    Ok(true)
}

/// Is this the packed form of something, and not JSON?
pub(super) fn is_packed(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(&(USER | TOKEN)))
}

/// The record of which these bytes are the packed form.
pub(super) fn decode(bytes: &[u8], known: &mut Known) -> Result<Write, BadRecord> {
    match bytes.split_first() {
        Some((&USER, fields)) => user(fields).map(|it| Write::User(Arc::new(it))),
        Some((&TOKEN, fields)) => token(fields, known).map(|it| Write::Token(Arc::new(it))),
        Some(_) | None => Err(unreadable("no kind of record")),
    }
}

fn user(mut fields: &[u8]) -> Result<User, BadRecord> {
    let (mut id, mut name, mut created) = (None, None, None);
    let (mut admin, mut last_activity, mut cookie_id, mut user_info) =
        (false, None, String::new(), None);
    while let Some((tag, value)) = field(&mut fields)? {
        match (tag, value) {
            (user::ID, Value::Number(it)) => id = Some(UserId(it)),
            (user::NAME, Value::Bytes(it)) => {
                let it = Username::new(text(it)?);
                name = Some(it.map_err(|error| unreadable(&error.to_string()))?);
            }
            (user::ADMIN, Value::Number(it)) => admin = it != 0,
            (user::CREATED, Value::Number(it)) => created = Some(moment(it)),
            (user::ACTIVITY, Value::Number(it)) => last_activity = Some(moment(it)),
            (user::COOKIE, Value::Bytes(it)) => text(it)?.clone_into(&mut cookie_id),
            (user::INFO, Value::Bytes(it)) => {
                let it = serde_json::from_slice(it);
                user_info = Some(it.map_err(|error| unreadable(&error.to_string()))?);
            }
            (other, _) => return Err(unknown(other)),
        }
    }
    Ok(User {
        id: id.ok_or_else(missing)?,
        name: name.ok_or_else(missing)?,
        admin,
        created: created.ok_or_else(missing)?,
        last_activity,
        cookie_id,
        user_info,
    })
}

fn token(mut fields: &[u8], known: &mut Known) -> Result<Token, BadRecord> {
    let (mut id, mut owner, mut hash, mut created) = (None, None, None, None);
    let (mut expires_at, mut last_activity, mut note) = (None, None, "");
    let (mut client, mut session) = (None, None);
    known.scopes_here.clear();
    while let Some((tag, value)) = field(&mut fields)? {
        match (tag, value) {
            (token::ID, Value::Number(it)) => id = Some(TokenId(it)),
            (token::USER, Value::Number(it)) => owner = Some(Owner::User(UserId(it))),
            (token::SERVICE, Value::Bytes(it)) => {
                let it = ServiceName::new(text(it)?);
                owner = Some(Owner::Service(it.map_err(|error| unreadable(&error.to_string()))?));
            }
            (token::HASH, Value::Bytes(it)) => {
                hash = Some(TokenHash(it.try_into().map_err(|_| unreadable("a short hash"))?));
            }
            (token::SCOPE, Value::Bytes(it)) => {
                let scope = known.scope(text(it)?);
                known.scopes_here.push(scope);
            }
            (token::CREATED, Value::Number(it)) => created = Some(moment(it)),
            (token::EXPIRES, Value::Number(it)) => expires_at = Some(moment(it)),
            (token::ACTIVITY, Value::Number(it)) => last_activity = Some(moment(it)),
            (token::NOTE, Value::Bytes(it)) => note = text(it)?,
            (token::CLIENT, Value::Bytes(it)) => client = Some(known.client(text(it)?)),
            (token::SESSION, Value::Bytes(it)) => session = Some(known.text(text(it)?)),
            (other, _) => return Err(unknown(other)),
        }
    }
    Ok(Token {
        id: id.ok_or_else(missing)?,
        owner: owner.ok_or_else(missing)?,
        hash: hash.ok_or_else(missing)?,
        scopes: known.scopes(),
        created: created.ok_or_else(missing)?,
        expires_at,
        last_activity,
        note: known.text(note),
        client,
        session,
    })
}

fn unreadable(why: &str) -> BadRecord {
    BadRecord::Unreadable(why.to_owned())
}

fn unknown(tag: u8) -> BadRecord {
    BadRecord::Unreadable(format!("field {tag} is not known"))
}

fn missing() -> BadRecord {
    unreadable("a field is missing")
}

fn text(bytes: &[u8]) -> Result<&str, BadRecord> {
    std::str::from_utf8(bytes).map_err(|error| unreadable(&error.to_string()))
}

fn moment(folded: u64) -> Moment {
    Moment((folded >> 1).cast_signed() ^ -((folded & 1).cast_signed()))
}

/// Where fields are written.
struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn number(&mut self, tag: u8, number: u64) {
        debug_assert!(tag.is_multiple_of(2), "numbers have even tags");
        self.0.push(tag);
        self.varint(number);
    }

    fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        debug_assert!(!tag.is_multiple_of(2), "bytes have odd tags");
        self.0.push(tag);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn moment(&mut self, tag: u8, moment: Option<Moment>) {
        if let Some(Moment(it)) = moment {
            self.number(tag, ((it << 1) ^ (it >> 63)).cast_unsigned());
        }
    }
}

/// What a field holds.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Takes the first field off; none if there is none.
fn field<'a>(fields: &mut &'a [u8]) -> Result<Option<(u8, Value<'a>)>, BadRecord> {
    let Some((&tag, rest)) = fields.split_first() else { return Ok(None) };
    *fields = rest;
    let number = varint(fields).ok_or_else(|| unreadable("a number is cut short"))?;
    if tag.is_multiple_of(2) {
        return Ok(Some((tag, Value::Number(number))));
    }
    let length = usize::try_from(number).unwrap_or(usize::MAX);
    let (bytes, rest) =
        fields.split_at_checked(length).ok_or_else(|| unreadable("a field is cut short"))?;
    *fields = rest;
    Ok(Some((tag, Value::Bytes(bytes))))
}

/// Takes a number off; none if it is cut short or too large.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        number |= part << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// What records that were read together say alike, so that they share it: a million tokens have few notes, scopes,
/// sessions and clients.
#[derive(Debug, Default)]
pub(super) struct Known {
    texts: HashSet<Arc<str>>,
    clients: HashSet<ClientId>,
    scopes: HashSet<Scope>,
    lists: HashSet<Arc<[Scope]>>,
    /// Those of the token in hand.
    scopes_here: Vec<Scope>,
}

/// What is known and equal to this, or else this, made and known from now on.
fn one_of<T, K>(known: &mut HashSet<T>, key: &K, make: impl FnOnce(&K) -> T) -> T
where
    T: Borrow<K> + Clone + Eq + Hash,
    K: Eq + Hash + ?Sized,
{
    if let Some(same) = known.get(key) {
        return same.clone();
    }
    let new = make(key);
    known.insert(new.clone());
    new
}

impl Known {
    fn text(&mut self, text: &str) -> Arc<str> {
        one_of(&mut self.texts, text, |text| text.into())
    }

    fn client(&mut self, text: &str) -> ClientId {
        one_of(&mut self.clients, text, ClientId::claimed)
    }

    fn scope(&mut self, text: &str) -> Scope {
        one_of(&mut self.scopes, text, Scope::new)
    }

    /// Those of the token in hand, as a list.
    fn scopes(&mut self) -> Arc<[Scope]> {
        one_of(&mut self.lists, &self.scopes_here[..], |scopes| scopes.into())
    }

    /// The same for what was read otherwise.
    pub(super) fn share(&mut self, token: &mut Token) {
        self.scopes_here.clear();
        self.scopes_here.extend(token.scopes.iter().cloned());
        token.scopes = self.scopes();
        token.note = self.text(&token.note);
        token.client = token.client.take().map(|it| self.client(it.as_str()));
        token.session = token.session.take().map(|it| self.text(&it));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{one_of_each, user};

    fn packed(write: &Write) -> Vec<u8> {
        let mut bytes = Vec::new();
        assert!(encode(write, &mut bytes).unwrap());
        bytes
    }

    fn unpacked(bytes: &[u8]) -> Result<Write, BadRecord> {
        decode(bytes, &mut Known::default())
    }

    #[test]
    fn the_extremes_are_read_as_they_were_written() {
        let Write::User(ada) = user(u64::MAX, "ada") else { unreachable!() };
        for time in [i64::MIN, -1, 0, 1, i64::MAX] {
            let info = serde_json::json!({"groups": ["a", null, 1.5], "name": "\u{1f980}"});
            let write = Write::User(Arc::new(User {
                admin: time > 0,
                created: Moment(time),
                last_activity: (time != 0).then_some(Moment(-time.saturating_add(1))),
                user_info: (time != 1).then_some(info),
                ..(*ada).clone()
            }));
            assert_eq!(unpacked(&packed(&write)), Ok(write));
        }
        let Write::Token(token) = one_of_each()[4].clone() else { unreachable!() };
        for (service, scopes) in [("s", 0), ("a b", 1), ("é", 7)] {
            let write = Write::Token(Arc::new(Token {
                owner: Owner::Service(ServiceName::new(service).unwrap()),
                scopes: (0..scopes).map(|n| Scope::new(&format!("read:users!user={n}"))).collect(),
                expires_at: None,
                note: "".into(),
                client: None,
                session: None,
                ..(*token).clone()
            }));
            assert_eq!(unpacked(&packed(&write)), Ok(write));
        }
    }

    #[test]
    fn no_part_and_nothing_longer_is_read() {
        for write in [user(7, "ada"), one_of_each()[4].clone()] {
            let bytes = packed(&write);
            for length in 0..bytes.len() {
                // Without an optional field at its end it is another record, or none.
                assert_ne!(unpacked(&bytes[..length]), Ok(write.clone()), "{length}");
            }
            for more in [&[0][..], &[99, 0], &[0xff, 0xff], &[1, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
                let longer = [&bytes, more].concat();
                assert!(unpacked(&longer).is_err(), "{more:?}");
            }
        }
        assert_eq!(varint(&mut &[0xff; 10][..]), None, "more than 64 bits");
    }

    #[test]
    fn what_is_alike_is_shared() {
        let Write::Token(token) = one_of_each()[4].clone() else { unreachable!() };
        let mut known = Known::default();
        let mut read = |id| {
            let bytes = packed(&Write::Token(Arc::new(Token { id, ..(*token).clone() })));
            let Ok(Write::Token(token)) = decode(&bytes, &mut known) else { unreachable!() };
            token
        };
        let (one, other) = (read(TokenId(1)), read(TokenId(2)));
        assert!(Arc::ptr_eq(&one.scopes, &other.scopes) && Arc::ptr_eq(&one.note, &other.note));
        assert!(std::ptr::eq(
            one.client.as_ref().unwrap().as_str(),
            other.client.as_ref().unwrap().as_str()
        ));
        assert!(Arc::ptr_eq(one.session.as_ref().unwrap(), other.session.as_ref().unwrap()));
    }
}
