//! Which texts are names of users at this site, and whose name each is. (`spec/auth-and-spawn.md` 1, steps 3 and 4.)

use std::collections::BTreeMap;

use regex::Regex;

use super::{InvalidName, Username};

/// The rules of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// Other names, by the lower-cased ones.
    map: BTreeMap<String, String>,
    form: Option<Form>,
}

/// What the whole of a name must fit.
#[derive(Debug, Clone)]
struct Form(Regex);

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Form {}

impl Naming {
    /// `map`: other names, looked up once after lower-casing, taken as they are. `pattern`: a regular expression for the
    /// whole of a name; empty: any.
    ///
    /// # Errors
    ///
    /// The pattern is no regular expression. In words.
    pub fn new<'a>(
        map: impl IntoIterator<Item = (&'a String, &'a String)>,
        pattern: &str,
    ) -> Result<Self, String> {
        // Compiled as it stands first, so that a bracket of it cannot close ours.
        let form = match pattern {
            "" => Ok(None),
            _ => {
                Regex::new(pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$"))).map(Some)
            }
        };
        let form = form.map_err(|error| error.to_string())?.map(Form);
        let lowered = |(from, to): (&String, &String)| (from.to_lowercase(), to.clone());
        Ok(Self { map: map.into_iter().map(lowered).collect(), form })
    }

    /// For which nothing is a name.
    pub fn nobody() -> Self {
        let form = Regex::new("a^").ok().map(Form);
        Self { form, ..Self::default() }
    }

    /// The name of a user who is there already, as a program wrote it: what is asked of new names does not matter.
    pub fn known(&self, text: &str) -> Result<Username, InvalidName> {
        let lowered = text.to_lowercase();
        Username::new(self.map.get(&lowered).unwrap_or(&lowered))
    }

    /// The name as it stands, if it is one here.
    pub fn exact(&self, text: &str) -> Result<Username, InvalidName> {
        let name = Username::new(text)?;
        match &self.form {
            Some(Form(form)) if !form.is_match(name.as_str()) => Err(InvalidName::Pattern),
            _ => Ok(name),
        }
    }

    /// What a program wrote, made a name.
    pub fn written(&self, text: &str) -> Result<Username, InvalidName> {
        let lowered = text.to_lowercase();
        self.exact(self.map.get(&lowered).unwrap_or(&lowered))
    }

    /// What a person typed, or an authenticator said, made a name: blanks at the ends are a slip.
    pub fn typed(&self, text: &str) -> Result<Username, InvalidName> {
        self.written(text.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(map: &[(&str, &str)], pattern: &str) -> Naming {
        let map: Vec<_> =
            map.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        Naming::new(map.iter().map(|(from, to)| (from, to)), pattern).unwrap()
    }

    fn name(text: &str) -> Username {
        Username::new(text).unwrap()
    }

    #[test]
    fn names_are_mapped_once_after_lower_casing() {
        let names = naming(&[("Bob", "Robert"), ("robert", "x"), ("eve", "a/b")], "");
        assert_eq!(names.typed(" BOB "), Ok(name("Robert")));
        assert_eq!(names.typed("Carol"), Ok(name("carol")));
        assert!(names.typed("eve").is_err() && names.typed("..").is_err());
        assert_eq!(names.written(" bob"), Err(InvalidName::Character), "no slip of a program");
        assert_eq!(names.written("BOB"), Ok(name("Robert")));
        assert_eq!(names.exact("BOB"), Ok(name("BOB")), "as it stands");
        assert_eq!(names.written(""), Err(InvalidName::Empty));
    }

    #[test]
    fn the_whole_of_a_name_fits_the_pattern_after_it_was_mapped() {
        let names = naming(&[("guest", "visitor-9")], "[a-z]+-[0-9]|ann");
        for good in ["ann", "ANN", "a-1", "guest"] {
            assert!(names.typed(good).is_ok(), "{good}");
        }
        for bad in ["annie", "joann", "a-10", "xa-1x", "bob", "ann\n", "visitor"] {
            assert!(names.exact(bad).is_err(), "{bad:?}");
        }
        assert_eq!(names.exact("bob"), Err(InvalidName::Pattern));
        assert_eq!(names.known("Bob"), Ok(name("bob")), "who is there is there");
        assert!(Naming::nobody().exact("a").is_err());
        assert_eq!(names.exact("a/b"), Err(InvalidName::Character), "what no name is goes first");
        for wrong in ["(", "a)(b", "[", "*"] {
            let no: [(&String, &String); 0] = [];
            assert!(Naming::new(no, wrong).is_err(), "{wrong}");
        }
    }
}
