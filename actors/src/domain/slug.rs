//! A server's name from what people call it.

use super::ServerName;

/// Longest name of a server, in characters.
const LONGEST: usize = 30;

/// What people typed as a name to show: printable, one blank between words, none at the ends.
pub fn tidy(typed: &str) -> String {
    let plain: String = typed
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect();
    plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The name for a server that people call so: lower-case letters and digits, hyphens for everything else, `x-` before
/// what begins otherwise. `taken` says which names there are already: those get a number.
pub fn slug(shown: &str, taken: impl Fn(&ServerName) -> bool) -> Option<ServerName> {
    let mut base = String::new();
    for c in shown.chars().flat_map(char::to_lowercase) {
        match folded(c) {
            "" if c.is_ascii_lowercase() || c.is_ascii_digit() => base.push(c),
            "" if base.ends_with('-') || base.is_empty() => {}
            "" => base.push('-'),
            letters => base.push_str(letters),
        }
    }
    let base = base.trim_matches('-');
    let base = match base.chars().next() {
        None => "server".to_owned(),
        Some(first) if first.is_ascii_lowercase() => base.to_owned(),
        Some(_) => format!("x-{base}"),
    };
    let named = |end: &str| {
        let front: String = base.chars().take(LONGEST - end.len()).collect();
        ServerName::new(&format!("{}{end}", front.trim_end_matches('-'))).ok()
    };
    let numbered = (2..=99).map(|number| format!("-{number}"));
    std::iter::once(String::new())
        .chain(numbered)
        .filter_map(|end| named(&end))
        .find(|name| !taken(name))
}

/// Latin letters without their marks; nothing for all others.
fn folded(c: char) -> &'static str {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'è'..='ë' | 'ē' | 'ę' | 'ě' => "e",
        'ì'..='ï' | 'ī' => "i",
        'ñ' | 'ń' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'ś' | 'š' | 'ş' => "s",
        'ß' => "ss",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'ł' => "l",
        'ď' => "d",
        'ř' => "r",
        'ť' => "t",
        'ğ' => "g",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(shown: &str, taken: &[&str]) -> String {
        slug(shown, |name| taken.contains(&name.as_str())).unwrap().as_str().to_owned()
    }

    #[test]
    fn a_name_is_made_of_letters_digits_and_hyphens() {
        for (shown, name) in [
            ("Lab 1", "lab-1"),
            ("  GPU -- big!! ", "gpu-big"),
            ("Über Größe", "uber-grosse"),
            ("2026 data", "x-2026-data"),
            ("日本", "server"),
            ("<b>x</b>", "b-x-b"),
            ("../etc/passwd", "etc-passwd"),
            ("", "server"),
            ("a name that is much longer than thirty", "a-name-that-is-much-longer-tha"),
            ("twenty-nine characters here-- x", "twenty-nine-characters-here-x"),
        ] {
            assert_eq!(named(shown, &[]), name, "{shown}");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        assert_eq!(named("Lab", &["lab", "lab-2"]), "lab-3");
        let long = "a".repeat(40);
        assert_eq!(named(&long, &[&"a".repeat(30)]), format!("{}-2", "a".repeat(28)));
        assert_eq!(slug("lab", |_| true), None);
    }

    #[test]
    fn a_name_for_people_has_no_blanks_too_many() {
        assert_eq!(tidy("  Big \t\n lab\u{7} "), "Big lab");
        assert_eq!(tidy(" \u{a0} "), "");
    }
}
