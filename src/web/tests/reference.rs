//! The pages of the reference that are made from tables of the web. `UPDATE=1` writes them.

use std::{fmt::Write, fs, path::Path};

use jovis_actors::domain::{
    Policy, Username, role,
    scope::{Holder, Vocabulary, vocabulary::TABLE},
};

/// Compares a page with what it is made from; with `UPDATE` set, writes it.
pub(super) fn made(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let how = "UPDATE=1 cargo test --lib web::tests::reference";
    assert!(there == text, "{} is out of date: {how}", path.display());
}

const HEAD: &str = "# Scopes

<!-- Made from the tables in the code: UPDATE=1 cargo test --lib web::tests::reference -->

A scope says what somebody may do. Users, groups and services hold scopes by their roles, receivers of a share by that
share, tokens by themselves but never more than their owner holds at that moment. A scope brings its subscopes with it,
and theirs, each under the same filter.

A filter behind `!` narrows a scope to some things:

| filter | lets it count for |
|---|---|
| none | everything |
| `!user=NAME` | this user and this user's servers |
| `!group=NAME` | this group, its members at that moment, and their servers |
| `!server=USER/SERVER` | this server (`USER/` is the default server) |
| `!service=NAME` | this service |
| `!user`, `!server`, `!service` | the same for the token's owner; for the server or service that the token was given to |

Three words stand for others:

| word | stands for |
|---|---|
| `self` | what users may do with what is their own: SELF |
| `inherit` | in a token: whatever its owner may at that moment |
| `(no_scope)` | nothing but being known |

Roles that are always there: `user` (every user), `admin` (everybody whose flag `admin` is set), `server` (a server's own
token), `token` (a token for which nothing else was asked). The column \"roles\" says which of them has the scope, with a
filter if only for some things.

| scope | is for | brings | roles |
|---|---|---|---|
";

/// What each default role gives a user called `NAME`, as filters; the role `server` to the server's own token.
fn roles(name: &str) -> Vec<String> {
    let policy = Policy::default();
    let mask = policy.vocabulary().only(name).unwrap();
    let user = Username::new("someone").unwrap();
    let mut out = Vec::new();
    for (called, filter) in [(role::USER, "!user"), (role::ADMIN, ""), (role::SERVER, "!server")] {
        let grants = &policy.role(called).unwrap().grants;
        let held = grants.to(&Holder::user(&user));
        let written = policy.role(called).unwrap().scopes.iter().find(|scope| scope.base() == name);
        match written.and_then(|scope| scope.filter()) {
            _ if held.whole().meets(mask) => out.push(format!("`{called}`")),
            Some(filter) => out.push(format!("`{called}` (`!{filter}`)")),
            None if held.any().meets(mask) && called == role::SERVER => {
                out.push(format!("`{called}` (`!user`)"));
            }
            None if held.any().meets(mask) => out.push(format!("`{called}` (`{filter}`)")),
            None => {}
        }
    }
    out
}

fn scopes() -> String {
    let vocabulary = Vocabulary::default();
    let policy = Policy::default();
    let user = Username::new("someone").unwrap();
    let own = policy.role(role::USER).unwrap().grants.to(&Holder::user(&user));
    let own: Vec<_> = vocabulary.names(own.any()).map(|name| format!("`{name}!user`")).collect();
    let mut page = HEAD.replace("SELF", &own.join(", "));
    for (name, brings, about) in TABLE {
        let brings: Vec<_> = brings.iter().map(|name| format!("`{name}`")).collect();
        let (brings, roles) = (brings.join(", "), roles(name).join(", "));
        writeln!(page, "| `{name}` | {about} | {brings} | {roles} |").unwrap();
    }
    page.push_str(
        "\nOperators may add scopes of their own, named `custom:…`, for services to ask about: see `custom_scopes` in \
         [settings](settings.md).\n",
    );
    page
}

#[test]
fn the_page_of_scopes_is_made_from_their_table() {
    made("docs/reference/scopes.md", &scopes());
}
