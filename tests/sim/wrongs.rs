//! Requests that must be refused, each with the answer that it is to get.

use super::exchange::Exchange;

/// One way to be wrong.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) status: u16,
    /// The word that the proxy must tell.
    pub(crate) reason: &'static str,
    pub(crate) method: &'static str,
    /// What stands in the head, or takes the place of the body.
    how: How,
}

#[derive(Debug)]
enum How {
    /// Every line ends so.
    LineEnd(&'static str),
    /// This stands in the place of the version.
    Version(&'static str),
    /// This stands in the place of the last part of the path.
    Path(&'static str),
    /// This comes behind the target, so many times.
    Target(&'static str, usize),
    /// This is one more field line, its last piece so many times.
    Field(&'static str, &'static str, usize),
    /// The head is good and chunked; this follows, its middle so many times.
    Body(&'static str, &'static str, usize),
}

/// One for each reason to refuse a request, some in more than one way.
pub(crate) static WRONGS: [Wrong; 22] = [
    wrong(400, "malformed-head", "GET", How::LineEnd("\n")),
    wrong(400, "malformed-head", "GET", How::Version("HTTP/1.1 ")),
    wrong(
        400,
        "malformed-head",
        "POST",
        How::Field("Bad Name: 1", "", 1),
    ),
    wrong(400, "bad-target", "GET", How::Target("#part", 1)),
    wrong(
        400,
        "bad-host",
        "GET",
        How::Field("Host: other.test", "", 1),
    ),
    wrong(
        400,
        "bad-framing",
        "POST",
        How::Field("Content-Length: 3\r\nTransfer-Encoding: chunked", "", 1),
    ),
    wrong(
        400,
        "bad-framing",
        "POST",
        How::Field("Content-Length: 3\r\nContent-Length: 3", "", 1),
    ),
    wrong(400, "bad-chunk", "POST", How::Body("zz\r\n", "", 1)),
    wrong(400, "bad-chunk", "PUT", How::Body("5\r\nabcde", "!", 9)),
    wrong(
        400,
        "bad-trailer",
        "POST",
        How::Body("3\r\nabc\r\n0\r\nbad trailer\r\n\r\n", "", 1),
    ),
    wrong(
        413,
        "body-too-large",
        "PUT",
        How::Field("Content-Length: 9999999999999999999", "", 1),
    ),
    wrong(400, "ambiguous-path", "GET", How::Path("/%2E%2e/path?")),
    wrong(404, "no-route", "GET", How::Path("/paths?")),
    wrong(414, "target-too-long", "GET", How::Target("long", 3000)),
    wrong(
        431,
        "head-too-large",
        "GET",
        How::Field("X-Long: ", "long", 5000),
    ),
    wrong(
        431,
        "trailer-too-large",
        "POST",
        How::Body("3\r\nabc\r\n0\r\nX-Trail: ", "long", 1500),
    ),
    wrong(
        405,
        "method-refused",
        "TRACE",
        How::Field("X-Odd: 1", "", 1),
    ),
    wrong(
        417,
        "expectation-unknown",
        "POST",
        How::Field("Expect: more", "", 1),
    ),
    wrong(
        501,
        "coding-unknown",
        "POST",
        How::Field("Transfer-Encoding: gzip, chunked", "", 1),
    ),
    wrong(505, "version-unknown", "GET", How::Version("HTTP/1.2")),
    wrong(
        508,
        "loop-detected",
        "GET",
        How::Field("Via: 1.1 rondel", "", 1),
    ),
    wrong(
        200,
        "max-forwards-spent",
        "OPTIONS",
        How::Field("Max-Forwards: 0", "", 1),
    ),
];

const fn wrong(status: u16, reason: &'static str, method: &'static str, how: How) -> Wrong {
    Wrong {
        status,
        reason,
        method,
        how,
    }
}

impl Wrong {
    /// Whether its head is as good as any, so that a backend may have seen it.
    pub(crate) fn is_of_the_body(&self) -> bool {
        matches!(self.how, How::Body(..))
    }

    /// Whether it is of thousands of bytes.
    pub(crate) fn is_long(&self) -> bool {
        match self.how {
            How::Target(_, times) | How::Field(_, _, times) | How::Body(_, _, times) => {
                times > 1000
            }
            How::LineEnd(_) | How::Version(_) | How::Path(_) => false,
        }
    }

    /// The head of an exchange made wrong.
    pub(crate) fn head(&self, exchange: &Exchange, head: &str) -> Vec<u8> {
        let fields = head.strip_suffix("\r\n").unwrap_or(head);
        let text = match self.how {
            How::LineEnd(end) => head.replace("\r\n", end),
            How::Version(version) => head.replacen("HTTP/1.1", version, 1),
            How::Path(path) => head.replacen("/path?", path, 1),
            How::Target(more, times) => {
                let target = exchange.target();
                head.replacen(&target, &[&target, &more.repeat(times)[..]].concat(), 1)
            }
            How::Field(line, more, times) => {
                format!("{fields}{line}{}\r\n\r\n", more.repeat(times))
            }
            How::Body(..) => format!("{fields}Transfer-Encoding: chunked\r\n\r\n"),
        };
        text.into_bytes()
    }

    /// What stands for its body.
    pub(crate) fn body(&self) -> Vec<u8> {
        match self.how {
            How::Body(before, middle, times) => {
                [before, &middle.repeat(times)].concat().into_bytes()
            }
            How::LineEnd(_) | How::Version(_) | How::Path(_) | How::Target(..) | How::Field(..) => {
                Vec::new()
            }
        }
    }
}
