//! Reads the corpus: lines in, cases out. The format is told in `README.md` here.

use crate::strict::meaning::Meant;
use crate::strict::reader::{Ending, text};

/// What a stranger sends, and what is to become of it.
#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) section: String,
    pub(crate) topic: String,
    pub(crate) bytes: Vec<u8>,
    /// Of a response: the method that it answers, and words about the request.
    pub(crate) asked: Option<Asked>,
    pub(crate) after: After,
    /// How often a request with a bad response reaches a backend.
    pub(crate) reached: usize,
    pub(crate) outcomes: Vec<Outcome>,
    closed: bool,
}

/// What a response answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    words: Vec<String>,
}

/// What the stranger does when its bytes are out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum After {
    #[default]
    Stays,
    Ends,
    Resets,
}

/// What becomes of one message.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) kind: Kind,
    pub(crate) meant: Meant,
    pub(crate) interims: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It goes on, and means this.
    Passes,
    /// Our own answer, with this status and reason word.
    Refused(u16, String),
    /// A part of it goes on, of no more than this meaning, and is seen to be a part.
    Truncated,
    /// It is never whole.
    Nothing,
}

impl Asked {
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }

    /// The request, for this target.
    pub(crate) fn request(&self, target: &str) -> String {
        let version = if self.has("1.0") { "1.0" } else { "1.1" };
        let fields = match self.words.last().map(String::as_str) {
            Some("keep-alive") => "Connection: keep-alive\r\n",
            Some("close") => "Connection: close\r\n",
            Some("upgrade") => "Connection: Upgrade\r\nUpgrade: x\r\n",
            Some("trailers") => "Connection: TE\r\nTE: trailers\r\n",
            Some("half") => "Content-Length: 9\r\n",
            _ if self.has_body() => "Content-Length: 4\r\n",
            _ => "",
        };
        let body = if self.has_body() { "body" } else { "" };
        let method = &self.method;
        format!("{method} {target} HTTP/{version}\r\nHost: h\r\n{fields}\r\n{body}")
    }

    fn has_body(&self) -> bool {
        matches!(self.method.as_str(), "POST" | "PUT" | "PATCH")
    }
}

impl Case {
    /// Whether the client's connection is kept, so that the next request on it is served.
    pub(crate) fn is_kept(&self) -> bool {
        let last = self.outcomes.last().map(|outcome| &outcome.kind);
        let keeps = match last {
            Some(Kind::Passes) => true,
            Some(Kind::Refused(..)) => self.asked.is_some(),
            Some(Kind::Truncated | Kind::Nothing) | None => false,
        };
        keeps && !self.closed && !(self.asked.is_none() && self.after != After::Stays)
    }

    /// Takes one line of the case.
    fn take(&mut self, word: &str, rest: &str) -> Result<(), String> {
        if word == ">" || word == "|" {
            self.bytes.extend(unescaped(rest)?);
            if word == ">" {
                self.bytes.extend_from_slice(b"\r\n");
            }
            return Ok(());
        }
        match word {
            "finish" | "ends" => self.after = After::Ends,
            "resets" => self.after = After::Resets,
            "closed" => self.closed = true,
            "reached" => self.reached = number(rest)?,
            "asked" => {
                let mut words = rest.split(' ').map(str::to_owned);
                let method = words.next().ok_or("asked what?")?;
                let words = words.collect();
                self.asked = Some(Asked { method, words });
            }
            "forwarded" | "got" | "refused" | "truncated" | "nothing" => {
                self.outcomes.push(Outcome::new(word, rest)?);
            }
            _ => {
                let outcome = self.outcomes.last_mut();
                return outcome.ok_or("of what?")?.take(word, rest);
            }
        }
        Ok(())
    }
}

impl Outcome {
    fn new(word: &str, rest: &str) -> Result<Self, String> {
        let mut meant = Meant::default();
        let (first, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        let kind = match word {
            "forwarded" => {
                let (target, host) = behind.split_once(' ').unwrap_or((behind, ""));
                let plain = |part: &str| unescaped(part).map(|bytes| text(&bytes));
                meant.request = Some((plain(first)?, plain(target)?, plain(host)?));
                Kind::Passes
            }
            "refused" => Kind::Refused(number(first)?, behind.to_owned()),
            "nothing" => Kind::Nothing,
            _ => {
                meant.status = Some(number(first)?);
                meant.body = unescaped(behind)?;
                if word == "got" {
                    Kind::Passes
                } else {
                    Kind::Truncated
                }
            }
        };
        Ok(Self {
            kind,
            meant,
            interims: Vec::new(),
        })
    }

    fn take(&mut self, word: &str, rest: &str) -> Result<(), String> {
        let meant = &mut self.meant;
        let field = || -> Result<(String, String), String> {
            let (name, value) = rest.split_once(':').ok_or("a name, a colon, a value")?;
            let plain = |part: &str| unescaped(part).map(|bytes| text(&bytes));
            Ok((
                plain(name)?,
                plain(value.strip_prefix(' ').unwrap_or(value))?,
            ))
        };
        match word {
            "length" | "chunked" | "until-close" | "tunnel" => {
                meant.body = unescaped(rest)?;
                meant.framing = match word {
                    "length" => Some(Ending::Length(meant.body.len())),
                    "chunked" => Some(Ending::Chunked),
                    _ => None,
                };
            }
            "head-length" => meant.framing = Some(Ending::Length(number(rest)?)),
            "head-chunked" => meant.framing = Some(Ending::Chunked),
            "trailer" => meant.trailers.push(field()?),
            "has" => meant.has.push(field()?),
            "lacks" => meant.lacks.push(rest.to_owned()),
            "interim" => self.interims.push(number(rest)?),
            _ => return Err(format!("what is {word}?")),
        }
        Ok(())
    }
}

/// The cases of a file.
pub(crate) fn cases(content: &str) -> Result<Vec<Case>, String> {
    let mut cases: Vec<Case> = Vec::new();
    let mut topic = String::new();
    for (nth, line) in content.lines().enumerate() {
        let (word, rest) = line
            .trim_start()
            .split_once(' ')
            .unwrap_or((line.trim(), ""));
        let taken = match word {
            "" | "#" => Ok(()),
            "topic" => {
                topic = rest.split(' ').next().unwrap_or_default().to_owned();
                Ok(())
            }
            "case" => {
                let (id, section) = rest.split_once(' ').unwrap_or((rest, ""));
                cases.push(Case {
                    id: id.to_owned(),
                    section: section.to_owned(),
                    topic: topic.clone(),
                    reached: 1,
                    ..Case::default()
                });
                Ok(())
            }
            _ => match cases.last_mut() {
                Some(case) => case.take(word, rest),
                None => Err("before the first case".to_owned()),
            },
        };
        taken.map_err(|why| format!("line {}: {line:?}: {why}", nth + 1))?;
    }
    Ok(cases)
}

fn number<T: std::str::FromStr>(digits: &str) -> Result<T, String> {
    digits.parse().map_err(|_| format!("no number: {digits}"))
}

/// The bytes that `text` stands for.
pub(crate) fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let (bytes, rest) = run(text, false)?;
    if rest.is_empty() {
        Ok(bytes)
    } else {
        Err(format!("left over: {rest}"))
    }
}

/// Bytes up to the end, or up to the parenthesis that closes a repeat; and what is behind them.
fn run(text: &str, within: bool) -> Result<(Vec<u8>, &str), String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        match first {
            ')' if within => return Ok((bytes, behind)),
            '\\' => rest = escape(behind, &mut bytes)?,
            _ if first.is_ascii() => {
                bytes.extend_from_slice(&rest.as_bytes()[..1]);
                rest = behind;
            }
            _ => return Err(format!("{first:?} is not ASCII")),
        }
    }
    if within {
        return Err("a repeat without its end".to_owned());
    }
    Ok((bytes, rest))
}

/// What stands behind a backslash; gives what is behind that.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let (kind, behind) = text.split_at_checked(1).ok_or("a backslash at the end")?;
    match kind {
        "r" => bytes.push(b'\r'),
        "n" => bytes.push(b'\n'),
        "t" => bytes.push(b'\t'),
        "0" => bytes.push(0),
        "\\" => bytes.push(b'\\'),
        "x" => {
            let (digits, behind) = behind.split_at_checked(2).ok_or("two digits")?;
            let byte = u8::from_str_radix(digits, 16);
            bytes.push(byte.map_err(|_| format!("no byte: {digits}"))?);
            return Ok(behind);
        }
        "*" => {
            let (count, behind) = behind.split_once('(').ok_or("a count and (")?;
            let (repeated, behind) = run(behind, true)?;
            bytes.extend(repeated.repeat(number(count)?));
            return Ok(behind);
        }
        _ => return Err(format!("no escape: {kind}")),
    }
    Ok(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_bytes() {
        let check = |text: &str, bytes: &[u8]| assert_eq!(unescaped(text).as_deref(), Ok(bytes));
        check(r"a\r\n\t\0\\\x7f\xff)", b"a\r\n\t\0\\\x7f\xff)");
        check(r"\*3(ab)\*2(\*2(x)\r\n)", b"abababxx\r\nxx\r\n");
        for bad in [r"\", r"\q", r"\x1", r"\xgg", r"\*2(a", r"\*a(b)", "\u{e9}"] {
            assert!(unescaped(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_case_is_read_line_by_line() {
        let case = "topic t x\ncase a 9112 §6\nasked GET 1.0 keep-alive\n> X\n>\n| b\nends\n\
            got 200\n  length b\n  has x-a: 1\n  interim 103\nclosed\n";
        let cases = cases(case).expect("it is sound");
        let [case] = &cases[..] else {
            panic!("{cases:?}");
        };
        assert_eq!((case.id.as_str(), case.topic.as_str()), ("a", "t"));
        assert_eq!(
            (case.bytes.as_slice(), case.after),
            (&b"X\r\n\r\nb"[..], After::Ends)
        );
        assert_eq!(case.outcomes[0].interims, [103]);
        assert_eq!(case.outcomes[0].meant.framing, Some(Ending::Length(1)));
        assert!(!case.is_kept());
        assert!(super::cases("case a\nwhat is this").is_err());
    }
}
