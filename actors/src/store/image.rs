//! All records as one immutable, indexed value. Cloning is cheap (persistent maps); applying a [`Write`] is pure.

use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::domain::{
    Announcement, ClientId, External, Group, GroupId, GroupName, Maintenance, OAuthClient,
    OAuthCode, Owner, Server, ServerKey, ServerName, Service, ServiceName, Share, ShareCode,
    ShareCodeId, ShareKey, SharedWith, Subject, Token, TokenHash, TokenId, User, UserId, Username,
    scope::Membership,
};

mod gather;

/// One physical change: the new value of a record, or its end. Nothing is decided twice, and applying twice does no harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Write {
    /// A user is so.
    User(Arc<User>),
    /// No such user any more.
    UserGone(UserId),
    /// A server is so.
    Server(Arc<Server>),
    /// No such server any more.
    ServerGone(ServerKey),
    /// A token is so.
    Token(Arc<Token>),
    /// No such token any more.
    TokenGone(TokenId),
    /// An OAuth client is so.
    Client(Arc<OAuthClient>),
    /// No such client any more.
    ClientGone(ClientId),
    /// An authorization code was given out.
    Code(Arc<OAuthCode>),
    /// It was used or expired.
    CodeGone(TokenHash),
    /// Ids up to this one are used up, also those of what has gone since.
    IdsUsed(u64),
    /// A group is so.
    Group(Arc<Group>),
    /// No such group any more.
    GroupGone(GroupId),
    /// This user is in this group.
    Member(GroupId, UserId),
    /// Not any more.
    MemberGone(GroupId, UserId),
    /// A service is so.
    Service(Arc<Service>),
    /// No such service any more.
    ServiceGone(ServiceName),
    /// A share is so.
    Share(Arc<Share>),
    /// No such share any more.
    ShareGone(ShareKey),
    /// A code for a share is so.
    ShareCode(Arc<ShareCode>),
    /// No such code any more.
    ShareCodeGone(ShareCodeId),
    /// This is announced.
    Announcement(Arc<Announcement>),
    /// Nothing is, any more.
    AnnouncementGone,
    /// There is maintenance.
    Maintenance(Arc<Maintenance>),
    /// It is over.
    MaintenanceGone,
    /// This is what providers said about a user.
    External(Arc<External>),
    /// Nothing is known of that any more.
    ExternalGone(UserId),
}

/// What is otherwise in a later image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Users, or when they did something last.
    pub users: bool,
    /// Servers.
    pub servers: bool,
    /// Groups, or who is in them.
    pub groups: bool,
    /// Services.
    pub services: bool,
    /// Announcement or maintenance.
    pub notices: bool,
}

/// Everything the hub knows, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    users: OrdMap<UserId, Arc<User>>,
    names: OrdMap<Username, UserId>,
    servers: OrdMap<ServerKey, Arc<Server>>,
    tokens: OrdMap<TokenId, Arc<Token>>,
    /// By the beginning of the hash. Indexes of tokens hold numbers only: there may be a million of them.
    hashes: OrdSet<(u64, TokenId)>,
    /// Users' tokens.
    owned: OrdSet<(UserId, TokenId)>,
    /// Services' tokens.
    serving: OrdSet<(ServiceName, TokenId)>,
    /// By a digest of the client they were given to.
    given: OrdSet<(u64, TokenId)>,
    clients: OrdMap<ClientId, Arc<OAuthClient>>,
    codes: OrdMap<TokenHash, Arc<OAuthCode>>,
    groups: OrdMap<GroupId, Arc<Group>>,
    group_names: HashMap<GroupName, GroupId>,
    members: OrdSet<(GroupId, UserId)>,
    memberships: OrdSet<(UserId, GroupId)>,
    services: OrdMap<ServiceName, Arc<Service>>,
    shares: OrdMap<ShareKey, Arc<Share>>,
    /// The same, by whom they are with.
    shared: OrdSet<(SharedWith, ServerKey)>,
    share_codes: OrdMap<ShareCodeId, Arc<ShareCode>>,
    share_code_hashes: HashMap<TokenHash, ShareCodeId>,
    /// By what they are for.
    sharing: OrdSet<(ServerKey, ShareCodeId)>,
    announcement: Option<Arc<Announcement>>,
    maintenance: Option<Arc<Maintenance>>,
    externals: OrdMap<UserId, Arc<External>>,
    subjects: HashMap<Subject, UserId>,
    ids: u64,
}

impl Image {
    /// The same with this change in it.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::User(user) => {
                if let Some(old) = self.users.insert(user.id, user.clone()) {
                    self.drop_name(&old);
                }
                self.names.insert(user.name.clone(), user.id);
                self.ids = self.ids.max(user.id.0);
            }
            Write::UserGone(id) => {
                if let Some(old) = self.users.remove(id) {
                    self.drop_name(&old);
                }
            }
            Write::Server(server) => {
                self.servers.insert(server.key.clone(), server.clone());
            }
            Write::ServerGone(key) => {
                self.servers.remove(key);
            }
            Write::Token(token) => {
                if let Some(old) = self.tokens.insert(token.id, token.clone()) {
                    self.forget_token(&old);
                }
                self.hashes.insert((beginning(&token.hash), token.id));
                match &token.owner {
                    Owner::User(user) => drop(self.owned.insert((*user, token.id))),
                    Owner::Service(name) => drop(self.serving.insert((name.clone(), token.id))),
                }
                if let Some(client) = &token.client {
                    self.given.insert((digest(client), token.id));
                }
                self.ids = self.ids.max(token.id.0);
            }
            Write::TokenGone(id) => {
                if let Some(old) = self.tokens.remove(id) {
                    self.forget_token(&old);
                }
            }
            Write::Client(client) => {
                self.clients.insert(client.id.clone(), client.clone());
            }
            Write::ClientGone(id) => {
                self.clients.remove(id);
            }
            Write::Code(code) => {
                self.codes.insert(code.hash, code.clone());
            }
            Write::CodeGone(hash) => {
                self.codes.remove(hash);
            }
            Write::IdsUsed(id) => self.ids = self.ids.max(*id),
            Write::Group(group) => {
                if let Some(old) = self.groups.insert(group.id, group.clone()) {
                    self.drop_group_name(&old);
                }
                self.group_names.insert(group.name.clone(), group.id);
                self.ids = self.ids.max(group.id.0);
            }
            Write::GroupGone(id) => {
                if let Some(old) = self.groups.remove(id) {
                    self.drop_group_name(&old);
                }
            }
            Write::Member(group, user) => {
                self.members.insert((*group, *user));
                self.memberships.insert((*user, *group));
            }
            Write::MemberGone(group, user) => {
                self.members.remove(&(*group, *user));
                self.memberships.remove(&(*user, *group));
            }
            Write::Service(service) => {
                self.services.insert(service.name.clone(), service.clone());
            }
            Write::ServiceGone(name) => {
                self.services.remove(name);
            }
            Write::Share(share) => {
                self.shared.insert((share.key.with, share.key.server.clone()));
                self.shares.insert(share.key.clone(), share.clone());
            }
            Write::ShareGone(key) => {
                self.shared.remove(&(key.with, key.server.clone()));
                self.shares.remove(key);
            }
            Write::ShareCode(code) => {
                if let Some(old) = self.share_codes.insert(code.id, code.clone()) {
                    self.forget_share_code(&old);
                }
                self.share_code_hashes.insert(code.hash, code.id);
                self.sharing.insert((code.server.clone(), code.id));
                self.ids = self.ids.max(code.id.0);
            }
            Write::ShareCodeGone(id) => {
                if let Some(old) = self.share_codes.remove(id) {
                    self.forget_share_code(&old);
                }
            }
            Write::Announcement(it) => self.announcement = Some(it.clone()),
            Write::AnnouncementGone => self.announcement = None,
            Write::Maintenance(it) => self.maintenance = Some(it.clone()),
            Write::MaintenanceGone => self.maintenance = None,
            Write::External(it) => {
                if let Some(old) = self.externals.insert(it.user, it.clone()) {
                    self.forget_subjects(&old);
                }
                for subject in &it.subjects {
                    self.subjects.insert(subject.clone(), it.user);
                }
            }
            Write::ExternalGone(user) => {
                if let Some(old) = self.externals.remove(user) {
                    self.forget_subjects(&old);
                }
            }
        }
    }

    /// An index entry goes with its record only: the name may be another's by now.
    fn drop_name(&mut self, old: &User) {
        if self.names.get(&old.name) == Some(&old.id) {
            self.names.remove(&old.name);
        }
    }

    /// As [`Self::drop_name`].
    fn drop_group_name(&mut self, old: &Group) {
        if self.group_names.get(&old.name) == Some(&old.id) {
            self.group_names.remove(&old.name);
        }
    }

    /// As [`Self::drop_name`].
    fn forget_subjects(&mut self, old: &External) {
        for subject in &old.subjects {
            if self.subjects.get(subject) == Some(&old.user) {
                self.subjects.remove(subject);
            }
        }
    }

    /// Takes a code for a share out of the indexes.
    fn forget_share_code(&mut self, old: &ShareCode) {
        self.share_code_hashes.remove(&old.hash);
        self.sharing.remove(&(old.server.clone(), old.id));
    }

    /// Takes a token out of the indexes.
    fn forget_token(&mut self, old: &Token) {
        self.hashes.remove(&(beginning(&old.hash), old.id));
        match &old.owner {
            Owner::User(user) => drop(self.owned.remove(&(*user, old.id))),
            Owner::Service(name) => drop(self.serving.remove(&(name.clone(), old.id))),
        }
        if let Some(client) = &old.client {
            self.given.remove(&(digest(client), old.id));
        }
    }

    /// The writes that make this image out of an empty one: what a snapshot holds.
    pub fn writes(&self) -> impl Iterator<Item = Write> + '_ {
        std::iter::once(Write::IdsUsed(self.ids))
            .chain(self.users.values().map(|it| Write::User(it.clone())))
            .chain(self.servers.values().map(|it| Write::Server(it.clone())))
            .chain(self.tokens.values().map(|it| Write::Token(it.clone())))
            .chain(self.clients.values().map(|it| Write::Client(it.clone())))
            .chain(self.codes.values().map(|it| Write::Code(it.clone())))
            .chain(self.groups.values().map(|it| Write::Group(it.clone())))
            .chain(self.members.iter().map(|(group, user)| Write::Member(*group, *user)))
            .chain(self.services.values().map(|it| Write::Service(it.clone())))
            .chain(self.shares.values().map(|it| Write::Share(it.clone())))
            .chain(self.share_codes.values().map(|it| Write::ShareCode(it.clone())))
            .chain(self.announcement.iter().map(|it| Write::Announcement(it.clone())))
            .chain(self.maintenance.iter().map(|it| Write::Maintenance(it.clone())))
            .chain(self.externals.values().map(|it| Write::External(it.clone())))
    }

    /// Which kinds of records may be otherwise than in this earlier image. Nothing is compared but whether it is shared, so
    /// this takes no time.
    pub fn changes(&self, earlier: &Self) -> Changes {
        Changes {
            users: !self.users.ptr_eq(&earlier.users),
            servers: !self.servers.ptr_eq(&earlier.servers),
            groups: !(self.groups.ptr_eq(&earlier.groups) && self.members.ptr_eq(&earlier.members)),
            services: !self.services.ptr_eq(&earlier.services),
            notices: (&self.announcement, &self.maintenance)
                != (&earlier.announcement, &earlier.maintenance),
        }
    }

    /// The next unused id, for users and tokens alike. Ids are never given again: the writes that use it also say
    /// [`Write::IdsUsed`] where the record may go while no later one stays.
    pub fn next_id(&self) -> u64 {
        self.ids + 1
    }

    /// A user by id.
    pub fn user(&self, id: UserId) -> Option<&Arc<User>> {
        self.users.get(&id)
    }

    /// What to call this user in the log: by name, or by number when it has gone.
    pub fn called(&self, id: UserId) -> String {
        self.user(id).map_or_else(|| id.0.to_string(), |user| user.name.to_string())
    }

    /// A user by current name.
    pub fn user_named(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(self.names.get(name)?)
    }

    /// What providers said about a user.
    pub fn external(&self, id: UserId) -> Option<&Arc<External>> {
        self.externals.get(&id)
    }

    /// Whom a provider means.
    pub fn user_of(&self, subject: &Subject) -> Option<&Arc<User>> {
        self.users.get(self.subjects.get(subject)?)
    }

    /// All users, oldest first.
    pub fn users(&self) -> impl DoubleEndedIterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// All users, by name.
    pub fn users_by_name(&self) -> impl DoubleEndedIterator<Item = &Arc<User>> {
        self.names.values().filter_map(|id| self.users.get(id))
    }

    /// All names in order, with whose they are.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = (&Username, UserId)> {
        self.names.iter().map(|(name, id)| (name, *id))
    }

    /// How many users there are.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// A group by id.
    pub fn group(&self, id: GroupId) -> Option<&Arc<Group>> {
        self.groups.get(&id)
    }

    /// A group by name.
    pub fn group_named(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(self.group_names.get(name)?)
    }

    /// All groups, oldest first.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    /// The groups a user is in, oldest first.
    pub fn groups_of(&self, user: UserId) -> impl Iterator<Item = &Arc<Group>> {
        self.memberships
            .range((user, GroupId(0))..)
            .take_while(move |(whose, _)| *whose == user)
            .filter_map(|(_, group)| self.groups.get(group))
    }

    /// The users in a group, oldest first.
    pub fn members_of(&self, group: GroupId) -> impl Iterator<Item = &Arc<User>> {
        self.members
            .range((group, UserId(0))..)
            .take_while(move |(which, _)| *which == group)
            .filter_map(|(_, user)| self.users.get(user))
    }

    /// Is this user in this group?
    pub fn is_member(&self, group: GroupId, user: UserId) -> bool {
        self.members.contains(&(group, user))
    }

    /// A service by name.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// All services, by name.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// One share.
    pub fn share(&self, key: &ShareKey) -> Option<&Arc<Share>> {
        self.shares.get(key)
    }

    /// With whom one server is shared.
    pub fn shares_of(&self, server: &ServerKey) -> impl Iterator<Item = &Arc<Share>> {
        let first = ShareKey { server: server.clone(), with: SharedWith::User(UserId(0)) };
        self.shares
            .range(first..)
            .map(|(_, share)| share)
            .take_while(move |share| share.key.server == *server)
    }

    /// What one user has shared.
    pub fn shares_by(&self, owner: UserId) -> impl Iterator<Item = &Arc<Share>> {
        let server = ServerKey { user: owner, name: ServerName::default_server() };
        let first = ShareKey { server, with: SharedWith::User(UserId(0)) };
        self.shares
            .range(first..)
            .map(|(_, share)| share)
            .take_while(move |share| share.key.server.user == owner)
    }

    /// What is shared with this one.
    pub fn shared_with(&self, with: SharedWith) -> impl Iterator<Item = &Arc<Share>> {
        let first = ServerKey { user: UserId(0), name: ServerName::default_server() };
        self.shared.range((with, first)..).take_while(move |(whom, _)| *whom == with).filter_map(
            |(with, server)| self.shares.get(&ShareKey { server: server.clone(), with: *with }),
        )
    }

    /// A code for a share by number.
    pub fn share_code(&self, id: ShareCodeId) -> Option<&Arc<ShareCode>> {
        self.share_codes.get(&id)
    }

    /// The same by the hash of what was presented.
    pub fn share_code_hashed(&self, hash: &TokenHash) -> Option<&Arc<ShareCode>> {
        self.share_codes.get(self.share_code_hashes.get(hash)?)
    }

    /// The codes for shares of one server, oldest first.
    pub fn share_codes_of(&self, server: &ServerKey) -> impl Iterator<Item = &Arc<ShareCode>> {
        self.sharing
            .range((server.clone(), ShareCodeId(0))..)
            .take_while(move |(which, _)| which == server)
            .filter_map(|(_, id)| self.share_codes.get(id))
    }

    /// The same for all servers of one user, by server.
    pub fn share_codes_by(&self, owner: UserId) -> impl Iterator<Item = &Arc<ShareCode>> {
        let first = ServerKey { user: owner, name: ServerName::default_server() };
        self.sharing
            .range((first, ShareCodeId(0))..)
            .take_while(move |(server, _)| server.user == owner)
            .filter_map(|(_, id)| self.share_codes.get(id))
    }

    /// All codes for shares, oldest first.
    pub fn share_codes(&self) -> impl Iterator<Item = &Arc<ShareCode>> {
        self.share_codes.values()
    }

    /// What is announced, shown or not.
    pub fn announcement(&self) -> Option<&Arc<Announcement>> {
        self.announcement.as_ref()
    }

    /// The maintenance there is.
    pub fn maintenance(&self) -> Option<&Arc<Maintenance>> {
        self.maintenance.as_ref()
    }

    /// One server.
    pub fn server(&self, key: &ServerKey) -> Option<&Arc<Server>> {
        self.servers.get(key)
    }

    /// All servers of one user, the default one first.
    pub fn servers_of(&self, user: UserId) -> impl Iterator<Item = &Arc<Server>> {
        let first = ServerKey { user, name: ServerName::default_server() };
        self.servers
            .range(first..)
            .map(|(_, server)| server)
            .take_while(move |server| server.key.user == user)
    }

    /// All servers of all users.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.values()
    }

    /// A token by number.
    pub fn token(&self, id: TokenId) -> Option<&Arc<Token>> {
        self.tokens.get(&id)
    }

    /// A token by the hash of what was presented.
    pub fn token_hashed(&self, hash: &TokenHash) -> Option<&Arc<Token>> {
        let begins = beginning(hash);
        self.hashes
            .range((begins, TokenId(0))..)
            .take_while(|(other, _)| *other == begins)
            .filter_map(|(_, id)| self.tokens.get(id))
            .find(|token| token.hash == *hash)
    }

    /// All tokens of one owner, oldest first.
    pub fn tokens_of(&self, owner: &Owner) -> impl Iterator<Item = &Arc<Token>> + use<'_> {
        let (user, service) = match owner {
            Owner::User(user) => (Some(*user), None),
            Owner::Service(name) => (None, Some(name.clone())),
        };
        let of_user = user.into_iter().flat_map(|user| {
            let all = self.owned.range((user, TokenId(0))..);
            all.take_while(move |(whose, _)| *whose == user).map(|(_, id)| id)
        });
        let of_service = service.into_iter().flat_map(|name| {
            let all = self.serving.range((name.clone(), TokenId(0))..);
            all.take_while(move |(whose, _)| *whose == name).map(|(_, id)| id)
        });
        of_user.chain(of_service).filter_map(|id| self.tokens.get(id))
    }

    /// All tokens given to one OAuth client.
    pub fn tokens_for(&self, client: &ClientId) -> impl Iterator<Item = &Arc<Token>> + use<'_> {
        let (client, digest) = (client.clone(), digest(client));
        self.given
            .range((digest, TokenId(0))..)
            .take_while(move |(whose, _)| *whose == digest)
            .filter_map(|(_, id)| self.tokens.get(id))
            .filter(move |token| token.client.as_ref() == Some(&client))
    }

    /// All tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.values()
    }

    /// An OAuth client.
    pub fn client(&self, id: &ClientId) -> Option<&Arc<OAuthClient>> {
        self.clients.get(id)
    }

    /// All OAuth clients.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<OAuthClient>> {
        self.clients.values()
    }

    /// An authorization code by its hash.
    pub fn code(&self, hash: &TokenHash) -> Option<&Arc<OAuthCode>> {
        self.codes.get(hash)
    }

    /// All authorization codes.
    pub fn codes(&self) -> impl Iterator<Item = &Arc<OAuthCode>> {
        self.codes.values()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.users.len()
            + self.servers.len()
            + self.tokens.len()
            + self.clients.len()
            + self.codes.len()
            + self.groups.len()
            + self.members.len()
            + self.services.len()
            + self.shares.len()
            + self.share_codes.len()
            + usize::from(self.announcement.is_some())
            + usize::from(self.maintenance.is_some())
    }

    /// Nothing yet?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Membership for Image {
    fn is_in(&self, user: &str, group: &str) -> bool {
        let both = self.user_named(user).zip(self.group_named(group));
        both.is_some_and(|(user, group)| self.is_member(group.id, user.id))
    }
}

/// The first eight bytes of a hash.
fn beginning(hash: &TokenHash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// A digest of a client's id (FNV-1a). Two may share one: whoever looks by it compares the ids too.
fn digest(client: &ClientId) -> u64 {
    client.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
