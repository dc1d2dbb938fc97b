//! A part of a name, as people look for it: case does not matter, and the wildcards are those of SQL. `%` is any text,
//! `_` any one character; nothing takes that meaning from them.

use crate::domain::name::MAX_NAME;

/// What a name is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Begins and ends with [`Symbol::Any`], with no two of them in a row.
    symbols: Vec<Symbol>,
    /// The same where it is nothing but letters of ASCII, as nearly always.
    plain: Option<Vec<u8>>,
    /// Has it more characters than any name?
    too_long: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    /// Any text.
    Any,
    /// Any character.
    One,
    /// This one, in lower case.
    This(char),
}

impl Pattern {
    /// Names that have such a part somewhere.
    pub fn part(text: &str) -> Self {
        let inner = text.chars().flat_map(char::to_lowercase).map(|letter| match letter {
            '%' => Symbol::Any,
            '_' => Symbol::One,
            _ => Symbol::This(letter),
        });
        let ends = std::iter::once(Symbol::Any);
        let mut symbols: Vec<_> = ends.clone().chain(inner).chain(ends).collect();
        symbols.dedup_by(|a, b| *a == Symbol::Any && *b == Symbol::Any);
        let too_long = symbols.iter().filter(|it| **it != Symbol::Any).count() > MAX_NAME;
        let plain = text.is_ascii() && !text.contains(['%', '_']) && !text.is_empty();
        let plain = plain.then(|| text.to_ascii_lowercase().into_bytes());
        Self { symbols, plain, too_long }
    }

    /// Is it so in this name?
    pub fn matches(&self, name: &str) -> bool {
        if self.too_long {
            return false;
        }
        if let Some(plain) = &self.plain
            && is_lower(name.as_bytes())
        {
            return holds(name.as_bytes(), plain);
        }
        if name.is_ascii() {
            let bytes = name.as_bytes();
            return self.fits(bytes.len(), |at| bytes[at].to_ascii_lowercase().into());
        }
        let letters: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
        self.fits(letters.len(), |at| letters[at])
    }

    /// Each text between two wildcards is taken at its first place: if it fits anywhere it fits there.
    fn fits(&self, length: usize, letter: impl Fn(usize) -> char) -> bool {
        let (mut at, mut next) = (0, 0);
        // The last wildcard passed, and where the text after it was tried.
        let (mut wildcard, mut tried) = (0, 0);
        loop {
            match self.symbols.get(next) {
                Some(Symbol::Any) if next + 1 == self.symbols.len() => return true,
                Some(Symbol::Any) => {
                    (wildcard, tried) = (next, at);
                    next += 1;
                }
                _ if at == length => return false,
                Some(Symbol::One) => (at, next) = (at + 1, next + 1),
                Some(Symbol::This(wanted)) if *wanted == letter(at) => {
                    (at, next) = (at + 1, next + 1);
                }
                Some(Symbol::This(_)) | None => {
                    tried += 1;
                    (at, next) = (tried, wildcard + 1);
                }
            }
        }
    }
}

/// ASCII without capitals? All of it is looked at, which is quicker than to stop somewhere.
fn is_lower(name: &[u8]) -> bool {
    !name.iter().fold(false, |other, byte| other | !byte.is_ascii() | byte.is_ascii_uppercase())
}

/// Is the part somewhere in it? Names are short: looking for the first letter is all it takes.
fn holds(name: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else { return true };
    let Some(last) = name.len().checked_sub(part.len()) else { return false };
    (0..=last).any(|at| name[at] == *first && name[at + 1..at + part.len()] == *rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_wherever_it_stands_whatever_its_case() {
        for (part, name, wanted) in [
            ("", "bob", true),
            ("bob", "bob", true),
            ("OB", "bob", true),
            ("b", "Bob", true),
            ("bobo", "bob", false),
            ("aab", "aaab", true),
            ("abab", "aabaab", false),
            ("abab", "aababb", true),
            ("ß", "straße", true),
            ("ÜN", "günther", true),
            ("x", "günther", false),
            (".", "bob", false),
            ("b\\", "bob", false),
        ] {
            assert_eq!(Pattern::part(part).matches(name), wanted, "{part:?} in {name:?}");
        }
    }

    #[test]
    fn the_wildcards_are_those_of_sql() {
        for (part, name, wanted) in [
            ("b%b", "bob", true),
            ("b%b", "b", false),
            ("b_b", "abobc", true),
            ("b_b", "bb", false),
            ("___", "bob", true),
            ("____", "bob", false),
            ("%", "b", true),
            ("%%_%%", "b", true),
            ("a%c_e", "abcdcxe", true),
            ("a%c_e", "abcdcxxe", false),
            ("_", "ü", true),
            ("__", "ü", false),
        ] {
            assert_eq!(Pattern::part(part).matches(name), wanted, "{part:?} in {name:?}");
        }
        assert!(!Pattern::part(&"_".repeat(300)).matches(&"a".repeat(255)));
        assert!(Pattern::part(&"%".repeat(70_000)).matches("a"));
    }
}
