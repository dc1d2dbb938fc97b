//! Where each name of a RON text stands: paths with line and column. It reads no values and never fails: what is no RON
//! is `load`'s to say; here we only want to point at it.

use std::ops::Range;

use super::catalogue;

/// A name and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `hub.port`, `auth.class.Pam.service`.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Where name, value and the comma behind them stand, in bytes.
    pub span: Range<usize>,
    /// In which entry of a list (its number, from 0) or map (its name) it stands.
    pub entry: Option<String>,
}

/// What a bracket encloses.
struct Frame {
    path: String,
    key: Option<String>,
    map: bool,
    /// The field whose value is being read.
    open: Option<usize>,
    /// See [`Place::entry`].
    entry: Option<String>,
    /// In a list: how many entries have begun.
    begun: Option<usize>,
    /// In a map: the text read last, which is the name if a bracket follows.
    text: String,
}

/// All names of fields in the text, in its order.
pub fn outline(text: &str) -> Vec<Place> {
    let mut reader = Reader { rest: text, line: 1, column: 1 };
    let mut places = Vec::new();
    let outermost = Frame {
        path: String::new(),
        key: None,
        map: false,
        open: None,
        entry: None,
        begun: None,
        text: String::new(),
    };
    let mut frames = vec![outermost];
    let mut word: Option<(String, usize, usize, usize)> = None;
    while let Some(c) = reader.peek() {
        let (line, column, at) = (reader.line, reader.column, text.len() - reader.rest.len());
        let top = frames.last_mut().expect("the outermost frame is never taken");
        match c {
            '"' | '\'' => {
                reader.string();
                if top.map {
                    let end = text.len() - reader.rest.len();
                    text.get(at + 1..end.saturating_sub(1))
                        .unwrap_or_default()
                        .clone_into(&mut top.text);
                }
                word = None;
            }
            '/' => reader.comment(),
            ':' => {
                reader.next();
                if let Some((name, line, column, from)) = word.take().filter(|_| !top.map) {
                    let path = join(&top.path, &name);
                    top.open = Some(places.len());
                    let (span, entry) = (from..text.len(), top.entry.clone());
                    places.push(Place { path, line, column, span, entry });
                    top.key = Some(name);
                }
            }
            ',' => {
                reader.next();
                if let Some(open) = top.open.take() {
                    places[open].span.end = at + 1;
                }
                top.key = None;
                word = None;
            }
            '(' | '[' | '{' => {
                reader.next();
                let mut path = top.path.clone();
                if let Some(key) = &top.key {
                    path = join(&path, key);
                    if let Some((name, ..)) = &word
                        && catalogue::is_variant(&path, name)
                    {
                        path = join(&path, name);
                    }
                }
                // A list may stand there under another name of it.
                if let Some(one) = catalogue::setting(&path) {
                    path.clone_from(&one.path);
                }
                let number = top.begun.map(|begun| begun.to_string());
                let name = top.map.then(|| top.text.clone());
                let entry = top.entry.clone().or(number).or(name);
                top.begun = top.begun.map(|begun| begun + 1);
                frames.push(Frame {
                    path,
                    key: None,
                    map: c == '{',
                    open: None,
                    entry,
                    begun: (c == '[').then_some(0),
                    text: String::new(),
                });
                word = None;
            }
            ')' | ']' | '}' => {
                reader.next();
                if let Some(open) = top.open.take() {
                    places[open].span.end = at;
                }
                if frames.len() > 1 {
                    frames.pop();
                }
                word = None;
            }
            c if c.is_alphanumeric() || c == '_' => {
                let name = reader.word();
                let raw = name == "r" && matches!(reader.peek(), Some('"' | '#'));
                if raw {
                    let mut marks = 0;
                    while reader.peek() == Some('#') {
                        reader.next();
                        marks += 1;
                    }
                    reader.raw_string(marks);
                } else {
                    word = Some((name, line, column, at));
                }
            }
            _ => {
                reader.next();
            }
        }
    }
    places
}

/// The name that stands last before this position: the setting whose value is there.
pub fn setting_at(places: &[Place], line: usize, column: usize) -> Option<&Place> {
    places.iter().rev().find(|place| (place.line, place.column) <= (line, column))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Characters with their position.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || matches!(c, '_')) {
            word.push(c);
            self.next();
        }
        word
    }

    fn string(&mut self) {
        let end = self.next();
        while let Some(c) = self.next() {
            match c {
                '\\' => {
                    self.next();
                }
                c if Some(c) == end => return,
                _ => {}
            }
        }
    }

    fn raw_string(&mut self, marks: usize) {
        if self.next() != Some('"') {
            return;
        }
        let end = format!("\"{}", "#".repeat(marks));
        while !self.rest.is_empty() && !self.rest.starts_with(&end) {
            self.next();
        }
        for _ in 0..end.len() {
            self.next();
        }
    }

    fn comment(&mut self) {
        self.next();
        match self.peek() {
            Some('/') => while self.next().is_some_and(|c| c != '\n') {},
            Some('*') => {
                self.next();
                let mut depth = 1;
                while depth > 0 && !self.rest.is_empty() {
                    if self.rest.starts_with("*/") {
                        depth -= 1;
                        self.next();
                    } else if self.rest.starts_with("/*") {
                        depth += 1;
                        self.next();
                    }
                    self.next();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, usize, usize)> {
        outline(text).into_iter().map(|p| (p.path, p.line, p.column)).collect()
    }

    #[test]
    fn names_are_found_with_their_place() {
        let text = "// port: 1\n(\n  hub: (ip: \"a:(b\", /* x: ( */ port: 1),\n  auth: (class: Pam(service: r#\"\"x\"#)),\n)";
        assert_eq!(
            found(text),
            [
                ("hub".into(), 3, 3),
                ("hub.ip".into(), 3, 9),
                ("hub.port".into(), 3, 32),
                ("auth".into(), 4, 3),
                ("auth.class".into(), 4, 10),
                ("auth.class.Pam.service".into(), 4, 21),
            ]
        );
    }

    #[test]
    fn spans_hold_a_field_with_its_comma() {
        let text = "(hub: (ip: \"a,b\", é: [1, 2]), log: ())";
        let spans: Vec<_> = outline(text).into_iter().map(|place| &text[place.span]).collect();
        assert_eq!(
            spans,
            ["hub: (ip: \"a,b\", é: [1, 2]),", "ip: \"a,b\",", "é: [1, 2]", "log: ()"]
        );
    }

    #[test]
    fn keys_of_maps_are_no_settings() {
        assert_eq!(found("(spawner: (environment: {\"A\": \"b\", C: 1}))").len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,200}") {
            outline(&text);
        }
    }
}
