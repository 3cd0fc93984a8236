//! Routes: what they do with requests.

use super::fields;
use super::names::Names;
use super::section::{Absent, Key, Section};
use super::text;
use crate::config::{
    Action, FieldEdits, FixedReply, REPLY_BODY_BYTES_MAX, Redirect, Rewrite, Share, WEIGHT_MAX,
};

/// The type of a reply's body, if nothing is said of it.
pub(super) const CONTENT_TYPE: &str = "text/plain; charset=utf-8";
/// The status of a redirect, if nothing is said of it.
pub(super) const REDIRECT_STATUS: u16 = 302;

/// What is done.
pub(super) struct Done {
    pub(super) action: Action,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) request_fields: FieldEdits,
    pub(super) response_fields: FieldEdits,
}

pub(super) fn read(section: &mut Section<'_>, pools: &Names) -> Done {
    let found = [
        one_pool(section, pools),
        split(section, pools),
        redirect(section),
        reply(section),
    ];
    let rewrite = rewrite(section);
    let done = Done {
        rewrite,
        request_fields: fields::read(
            section,
            "request-headers",
            "Changes of the request's header fields before it goes to a backend: removed first, then set, then added. Never of \
             those that frame a message or belong to a connection. Where fields are removed or set, trailers do not go on.",
        ),
        response_fields: fields::read(
            section,
            "response-headers",
            "Changes of the response's header fields before it goes to the client; said like `request-headers`.",
        ),
        action: Action::Pools(Vec::new()),
    };
    let keys = ["pool", "pools", "redirect", "reply"];
    let given: Vec<&str> = keys.into_iter().filter(|key| section.has(key)).collect();
    match given.as_slice() {
        [] => section.absent(
            &keys,
            "nothing is done",
            "expected one of pool, pools, redirect and reply",
        ),
        [_] => {}
        [first, rest @ ..] => {
            let why =
                format!("expected one of pool, pools, redirect and reply, and {first} is there");
            for key in rest {
                section.wrong(key, &why);
            }
        }
    }
    if section.has("redirect") || section.has("reply") {
        section.inert(
            &[
                "strip-prefix",
                "replace-prefix",
                "set-path",
                "request-headers",
            ],
            "the request goes to no backend",
        );
    }
    match found.into_iter().flatten().next() {
        Some(action) => Done { action, ..done },
        None => done,
    }
}

fn one_pool(section: &mut Section<'_>, pools: &Names) -> Option<Action> {
    let item = section.ask(&Key {
        name: "pool",
        kind: "a name",
        absent: Absent::Means("one of the other actions"),
        meaning: "The pool whose backends serve the request.",
    })?;
    let name = section.parse_item(&item, "the name of a pool", |name| {
        Ok::<_, String>(name.to_owned())
    })?;
    let pool = pools.find(section, &name, item.span)?;
    Some(Action::Pools(vec![Share { pool, weight: 1 }]))
}

fn split(section: &mut Section<'_>, pools: &Names) -> Option<Action> {
    let item = section.ask(&Key {
        name: "pools",
        kind: "a table",
        absent: Absent::Means("one of the other actions"),
        meaning: "Several pools, each with its share of the requests: `{ web = 90, canary = 10 }`; 0 to 256 each.",
    })?;
    let Some(entries) = item.entries() else {
        section.refuse(&item, "expected a table such as { web = 90, canary = 10 }");
        return None;
    };
    if entries.len() < 2 {
        section.refuse(
            &item,
            "expected two pools or more; one is said with pool, and has no weight",
        );
        return None;
    }
    let mut shares = Vec::new();
    for entry in &entries {
        let pool = pools.find(section, entry.key, entry.span.clone());
        let weight = section.number_item(entry, &(0..=WEIGHT_MAX));
        if let (Some(pool), Some(weight)) = (pool, weight) {
            shares.push(Share { pool, weight });
        }
    }
    if shares.len() == entries.len() && shares.iter().all(|share| share.weight == 0) {
        section.refuse(&item, "expected at least one weight above 0");
    }
    Some(Action::Pools(shares))
}

fn redirect(section: &mut Section<'_>) -> Option<Action> {
    let mut table = section.table(&Key {
        name: "redirect",
        kind: "a table such as { status = 301, to = \"https://{host}{path}{query}\" }",
        absent: Absent::Means("one of the other actions"),
        meaning: "Sends the client elsewhere.",
    })?;
    let status = table.number(
        "status",
        &(301..=308),
        REDIRECT_STATUS,
        "301, 302, 303, 307 or 308.",
    );
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        table.wrong("status", "expected 301, 302, 303, 307 or 308");
    }
    let to = table.parse(
        &Key {
            name: "to",
            kind: "a location",
            absent: Absent::Required,
            meaning: "Where to: a URL or a path, in which `{host}`, `{path}` and `{query}` (with its question mark) stand for those \
                      of the request.",
        },
        text::location,
    );
    table.finish();
    Some(Action::Redirect(Redirect {
        status,
        location: to?,
    }))
}

fn reply(section: &mut Section<'_>) -> Option<Action> {
    let mut table = section.table(&Key {
        name: "reply",
        kind: "a table such as { status = 200, body = \"ok\" }",
        absent: Absent::Means("one of the other actions"),
        meaning: "Answers the client at once.",
    })?;
    let status = table.number("status", &(200..=599), 200, "200 to 599.");
    let body = Key {
        name: "body",
        kind: "text",
        absent: Absent::Is(&"\"\""),
        meaning: "The body, at most 16 KiB.",
    };
    let body = table.parse(&body, |body| {
        if body.len() <= REPLY_BODY_BYTES_MAX {
            Ok(body.to_owned())
        } else {
            Err(format!("expected at most {REPLY_BODY_BYTES_MAX} bytes"))
        }
    });
    let default = format!("{CONTENT_TYPE:?}");
    let content_type = Key {
        name: "content-type",
        kind: "text",
        absent: Absent::Is(&default),
        meaning: "The `Content-Type` of the body.",
    };
    let content_type = table.parse(&content_type, |text| match text {
        "" => Err("expected a type such as text/html".to_owned()),
        _ => text::field_value(text),
    });
    let body = body.unwrap_or_default();
    // RFC 9110 §15.3.5, §15.3.6, §15.4.5.
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        table.wrong("body", "expected none with this status");
    }
    table.finish();
    Some(Action::Reply(FixedReply {
        status,
        content_type: content_type.unwrap_or_else(|| CONTENT_TYPE.to_owned()),
        body,
    }))
}

fn rewrite(section: &mut Section<'_>) -> Option<Rewrite> {
    let absent = || Absent::Means("the path goes on as it came");
    let strip = Key {
        name: "strip-prefix",
        kind: "a path",
        absent: absent(),
        meaning: "A prefix of the path, by whole segments, that is taken away.",
    };
    let set = Key {
        name: "set-path",
        kind: "a path",
        absent: absent(),
        meaning: "The path becomes this one; the query stays.",
    };
    let replace = Key {
        name: "replace-prefix",
        kind: "a table such as { from = \"/api\", to = \"/v1\" }",
        absent: absent(),
        meaning: "A prefix of the path, by whole segments, is taken away and another put in its place.",
    };
    let strip = section.parse(&strip, |from| match from {
        "/" => Err("expected more than /".to_owned()),
        _ => text::path(from),
    });
    let strip = strip.map(|from| Rewrite::Prefix {
        from,
        to: String::new(),
    });
    let replace = replace_prefix(section, &replace);
    let set = section.parse(&set, text::path).map(Rewrite::Path);
    let keys = ["strip-prefix", "replace-prefix", "set-path"];
    for key in keys.into_iter().filter(|key| section.has(key)).skip(1) {
        section.wrong(
            key,
            "expected one of strip-prefix, replace-prefix and set-path",
        );
    }
    strip.or(replace).or(set)
}

fn replace_prefix(section: &mut Section<'_>, key: &Key<'_>) -> Option<Rewrite> {
    let mut table = section.table(key)?;
    let from = Key {
        name: "from",
        kind: "a path",
        absent: Absent::Is(&"\"\""),
        meaning: "What is taken away; where the path does not begin so, nothing is.",
    };
    let to = Key {
        name: "to",
        kind: "a path",
        absent: Absent::Required,
        meaning: "What is put there.",
    };
    let from = table.parse(&from, |text| match text {
        "" => Ok(String::new()),
        _ => text::path(text),
    });
    let to = table.parse(&to, text::path);
    table.finish();
    Some(Rewrite::Prefix {
        from: from.unwrap_or_default(),
        to: to?,
    })
}
