//! `a=b&c=d`: query strings and form bodies. Linear in their length.

use jovis_actors::domain::quote;

use super::error::Error;

/// Names and values in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Form(Vec<(String, String)>);

impl<'a> FromIterator<(&'a str, &'a str)> for Form {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Self {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self(pairs.into_iter().map(own).collect())
    }
}

impl Form {
    /// From its text; what is not UTF-8 after decoding is refused.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let plain = |part: &str| {
            quote::unquote(&part.replace('+', " ")).ok_or_else(|| Error::bad("not UTF-8"))
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((plain(name)?, plain(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The first value under this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(which, _)| which == name).map(|(_, value)| value.as_str())
    }

    /// All values under this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(which, _)| which == name).map(|(_, value)| value.as_str())
    }

    /// Does a name come more than once?
    pub(crate) fn repeats(&self, name: &str) -> bool {
        self.all(name).nth(1).is_some()
    }

    /// All pairs.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Everything, as text again, with these values under these names: in their places, and at the end where they had
    /// none.
    pub(crate) fn with(&self, set: &[(&str, &str)]) -> String {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        let value = |name| set.iter().find(|(which, _)| *which == name).map(|(_, value)| *value);
        for (name, old) in self.pairs() {
            match value(name) {
                None => pairs.push((name, old)),
                Some(_) if pairs.iter().any(|(which, _)| *which == name) => {}
                Some(new) => pairs.push((name, new)),
            }
        }
        let known: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        pairs.extend(set.iter().filter(|(name, _)| !known.contains(name)));
        encode(pairs)
    }

    /// Everything but these names, as text again; empty if nothing is left.
    pub(crate) fn without(&self, names: &[&str]) -> String {
        encode(self.pairs().filter(|(name, _)| !names.contains(name)))
    }
}

/// The text of these pairs.
pub(crate) fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pair = |(name, value)| format!("{}={}", quote::query(name), quote::query(value));
    pairs.into_iter().map(pair).collect::<Vec<_>>().join("&")
}

/// `target` with these further query arguments, before its fragment.
pub(crate) fn with_query(target: &str, query: &str) -> String {
    if query.is_empty() {
        return target.to_owned();
    }
    let (front, fragment) = target.split_once('#').map_or((target, None), |(a, b)| (a, Some(b)));
    let joint = if front.contains('?') { '&' } else { '?' };
    let fragment = fragment.map(|it| format!("#{it}")).unwrap_or_default();
    format!("{front}{joint}{query}{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_written_again() {
        let form = Form::parse("a=1+2&b=%26%3d&a=&c&&_xsrf=x").unwrap();
        assert_eq!(form.all("a").collect::<Vec<_>>(), ["1 2", ""]);
        assert_eq!(form.get("b"), Some("&="));
        assert_eq!(form.get("c"), Some(""));
        assert!(form.repeats("a") && !form.repeats("b"));
        assert_eq!(form.without(&["_xsrf", "c", "a"]), "b=%26%3D");
        assert_eq!(form.with(&[("a", "9"), ("n", "")]), "a=9&b=%26%3D&c=&_xsrf=x&n=");
        assert!(Form::parse("a=%ff").is_err());
    }

    #[test]
    fn a_query_goes_before_the_fragment() {
        assert_eq!(with_query("/a", ""), "/a");
        assert_eq!(with_query("/a#f", "x=1"), "/a?x=1#f");
        assert_eq!(with_query("/a?b", "x=1"), "/a?b&x=1");
    }
}
