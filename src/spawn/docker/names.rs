//! Names of containers and volumes: pure, and never the same for two servers.

use jovis_actors::domain::{ServerName, Username};

/// Letters and digits as they are, each other byte as `-` and its two hexadecimal digits: two texts never look the same,
/// and no two dashes stand side by side in one. (JupyterHub's `escapism` writes the same.)
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            other => out.push_str(&format!("-{other:02x}")),
        }
    }
    out
}

/// What stands for holes in a template.
#[derive(Debug)]
pub struct Holes<'a> {
    /// `{prefix}`.
    pub prefix: &'a str,
    /// `{username}`.
    pub user: &'a Username,
    /// `{servername}`.
    pub server: &'a ServerName,
}

impl Holes<'_> {
    /// Fills `{prefix}`, and `{username}` and `{servername}` escaped: for names.
    pub fn escaped(&self, template: &str) -> String {
        self.fill(template, &escape(self.user.as_str()), &escape(self.server.as_str()))
    }

    /// The same as they are: for folders of this machine.
    ///
    /// # Errors
    ///
    /// A name that would lead elsewhere.
    pub fn folder(&self, template: &str) -> Result<String, String> {
        for (hole, name) in
            [("{username}", self.user.as_str()), ("{servername}", self.server.as_str())]
        {
            let bad = name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']);
            if template.contains(hole) && bad {
                return Err(format!("{name:?} is no name of a folder, which {template} needs"));
            }
        }
        Ok(self.fill(template, self.user.as_str(), self.server.as_str()))
    }

    /// In one pass: what was filled in is not looked at again.
    fn fill(&self, template: &str, user: &str, server: &str) -> String {
        let holes = [("{prefix}", self.prefix), ("{username}", user), ("{servername}", server)];
        let (mut out, mut rest) = (String::new(), template);
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            match holes.iter().find(|(hole, _)| rest.starts_with(hole)) {
                Some((hole, value)) => {
                    out.push_str(value);
                    rest = &rest[hole.len()..];
                }
                None => {
                    out.push('{');
                    rest = &rest[1..];
                }
            }
        }
        out + rest
    }
}

/// The container's name. Where the template says nothing of named servers they get `--` and their name.
pub fn container(template: &str, holes: &Holes<'_>) -> String {
    let name = holes.escaped(template);
    match holes.server.as_str() {
        "" => name,
        _ if template.contains("{servername}") => name,
        server => format!("{name}--{}", escape(server)),
    }
}

/// Is this a name the engine takes?
pub fn is_legal(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() > 1
        && letters.all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'.' | b'-'))
}

/// Can this be the name of an image: `quay.io/jupyter/base-notebook:2026-01-01@sha256:…`? It goes into paths.
pub fn is_image(name: &str) -> bool {
    let legal = |it: u8| {
        it.is_ascii_alphanumeric() || matches!(it, b'_' | b'.' | b'-' | b'/' | b':' | b'@')
    };
    (1..=512).contains(&name.len())
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(legal)
        && !name.contains("..")
        && !name.contains("//")
}

/// Repository and tag of an image to fetch. A digest stays where it is; without either it is `latest`, since an engine
/// that is told no tag fetches all of them.
pub fn to_fetch(image: &str) -> (String, Option<String>) {
    let last = image.rfind('/').map_or(0, |at| at + 1);
    match image[last..].find(['@', ':']) {
        Some(at) if image[last..].contains('@') || at == 0 => (image.to_owned(), None),
        Some(at) => (image[..last + at].to_owned(), Some(image[last + at + 1..].to_owned())),
        None => (image.to_owned(), Some("latest".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(template: &str, user: &str, server: &str) -> String {
        let (user, server) = (Username::new(user).unwrap(), ServerName::new(server).unwrap());
        container(template, &Holes { prefix: "jovis", user: &user, server: &server })
    }

    #[test]
    fn names_are_those_of_dockerspawner() {
        let usual = "{prefix}-{username}";
        assert_eq!(name(usual, "alice", ""), "jovis-alice");
        assert_eq!(name(usual, "alice", "gpu"), "jovis-alice--gpu");
        assert_eq!(name(usual, "ünal@x", "a-b"), "jovis--c3-bcnal-40x--a-2db");
        assert_eq!(name("{servername}.{username}", "bob", "n"), "n.bob");
        assert_eq!(name("{x}{username}", "bob", ""), "{x}bob");
    }

    #[test]
    fn folders_lead_nowhere_else() {
        let (user, server) = (Username::new("bob").unwrap(), ServerName::default_server());
        let holes = Holes { prefix: "j", user: &user, server: &server };
        assert_eq!(holes.folder("/srv/{username}").unwrap(), "/srv/bob");
        assert!(holes.folder("/srv/{username}/{servername}").is_err());
        let user = Username::new("..x").unwrap();
        assert!(
            Holes { prefix: "j", user: &user, server: &server }.folder("/srv/{username}").is_err()
        );
    }

    #[test]
    fn images_are_split_as_the_engine_means_them() {
        for (image, repository, tag) in [
            ("a", "a", Some("latest")),
            ("a:1", "a", Some("1")),
            ("h:5000/a/b", "h:5000/a/b", Some("latest")),
            ("h:5000/a/b:2", "h:5000/a/b", Some("2")),
            ("h/a@sha256:ff", "h/a@sha256:ff", None),
            ("h/a:2@sha256:ff", "h/a:2@sha256:ff", None),
        ] {
            assert!(is_image(image));
            assert_eq!(to_fetch(image), (repository.to_owned(), tag.map(str::to_owned)), "{image}");
        }
        for bad in ["", "/a", "a/../b", "a?x", "a b", "a//b", "ä", "a%2e"] {
            assert!(!is_image(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_two_servers_have_one_name(
            one in ("[a-c0-9_é-]{1,4}", "([a-c][0-9]?(-[a-c])?)?"),
            other in ("[a-c0-9_é-]{1,4}", "([a-c][0-9]?(-[a-c])?)?"),
        ) {
            let legal = |it: &(String, String)| Username::new(&it.0).is_ok() && ServerName::new(&it.1).is_ok();
            prop_assume!(legal(&one) && legal(&other));
            for template in ["{prefix}-{username}", "{prefix}-{username}--{servername}", "x{servername}.{username}"] {
                let (first, second) = (name(template, &one.0, &one.1), name(template, &other.0, &other.1));
                prop_assert!(is_legal(&first), "{first}");
                prop_assert_eq!(first == second, one == other, "{} {}", first, second);
            }
        }

        #[test]
        fn any_image_is_split_without_fear(image in "\\PC{0,40}") {
            if is_image(&image) {
                to_fetch(&image);
            }
        }
    }
}
