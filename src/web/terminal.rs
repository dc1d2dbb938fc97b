//! What programs write for terminals, as text that can be shown: without escape codes and whatever else a terminal would
//! act on. Linear in its length.

/// The text without what acts on who reads it. A line that was written over (progress bars) is as it was last.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut line = 0;
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // A control sequence ends with one of these.
                Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                // So do titles and links, with BEL or ESC \.
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    while let Some(c) = chars.next() {
                        match c {
                            '\u{7}' => break,
                            '\u{1b}' => {
                                chars.next_if_eq(&'\\');
                                break;
                            }
                            // None that is open goes beyond its line.
                            '\n' => {
                                out.push('\n');
                                line = out.len();
                                break;
                            }
                            _ => {}
                        }
                    }
                }
                // Three characters long, such as the choice of a character set.
                Some('(' | ')' | '#' | '%' | ' ') => drop(chars.next()),
                Some(_) | None => {}
            },
            '\n' => {
                out.push('\n');
                line = out.len();
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.truncate(line),
            '\u{8}' => {
                if out.len() > line {
                    out.pop();
                }
            }
            '\t' => out.push('\t'),
            c if c.is_control() || turns(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// What turns the direction of a text.
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The last lines of it, plain: at most so many.
pub(crate) fn last_lines(text: &str, most: usize) -> String {
    let text = plain(text);
    let text = text.trim_end();
    let from = text.rmatch_indices('\n').nth(most.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
    text[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_codes_are_taken_out_and_the_text_stays() {
        for (text, wanted) in [
            ("\u{1b}[1;31mred\u{1b}[0m text", "red text"),
            ("\u{1b}]0;title\u{7}a\u{1b}]8;;http://evil/\u{1b}\\link\u{1b}]8;;\u{1b}\\", "alink"),
            ("\u{1b}]never ends\nnext", "\nnext"),
            ("\u{1b}(Bplain\u{1b}=", "plain"),
            ("10 %\r20 %\r100 %\nend", "100 %\nend"),
            ("one\r\ntwo\r\n", "one\ntwo\n"),
            ("abc\u{8}\u{8}x\n\u{8}y", "ax\ny"),
            ("a\u{0}\u{7}\u{9b}b\tc", "ab\tc"),
            ("\u{202e}evil", "evil"),
            ("<script>\u{1b}", "<script>"),
            ("\u{1b}[", ""),
        ] {
            assert_eq!(plain(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn the_last_words_are_the_last_lines() {
        let text: String = (0..50).map(|n| format!("line {n}\u{1b}[0m\n")).collect();
        let shown = last_lines(&text, 20);
        assert!(shown.starts_with("line 30\n") && shown.ends_with("line 49"), "{shown}");
        assert_eq!(last_lines("", 20), "");
        assert_eq!(last_lines("one\ntwo", 1), "two");
    }

    proptest! {
        #[test]
        fn whatever_a_program_writes_can_be_shown(text in "(\\PC|[\u{0}-\u{1f}\u{7f}-\u{9f}\u{1b}\\[\\]]){0,200}") {
            let shown = plain(&text);
            prop_assert!(shown.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
            prop_assert!(shown.len() <= text.len());
        }
    }
}
