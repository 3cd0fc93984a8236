//! Whether a request is the one that the client sent, told on.

use std::net::IpAddr;

use rondel::config::Config;

use super::exchange::{Coding, Exchange};
use crate::strict::meaning::{Meant, request_ending};
use crate::strict::reader::{Ending, Message};

/// Compares a request's head with what the client sent, and says how its body ends.
pub(crate) fn judge_head(
    message: &Message,
    exchange: &Exchange,
    config: &Config,
    client: IpAddr,
) -> Result<Ending, String> {
    expect(message, "x-mark", Some(&exchange.id.to_string()))?;
    for gone in ["x-hop", "keep-alive", "proxy-connection", "x-real-ip"] {
        expect(message, gone, None)?;
    }
    if message.lists("connection", "x-hop") {
        return Err("a hop-by-hop field is named".to_owned());
    }
    forwarding(message, exchange, config, client)?;
    expect(message, "upgrade", exchange.upgrade.then_some("echo"))?;
    expect(message, "te", exchange.trailers.then_some("trailers"))?;
    let option = |name: &str| message.lists("connection", name);
    if option("upgrade") != exchange.upgrade || option("te") != exchange.trailers {
        return Err(format!(
            "Connection: {:?}",
            message.all("connection").collect::<Vec<_>>()
        ));
    }
    expect(
        message,
        "expect",
        exchange.expects.then_some("100-continue"),
    )?;
    let ending = match exchange.coding {
        Coding::Length => Some(Ending::Length(exchange.body_bytes)),
        Coding::Chunked => Some(Ending::Chunked),
        Coding::Bare | Coding::UntilClose => None,
    };
    let meant = Meant {
        request: Some((
            exchange.method.to_owned(),
            exchange.target(),
            exchange.host(),
        )),
        framing: ending,
        ..Meant::default()
    };
    meant.check_head(message)?;
    request_ending(message)
}

/// The fields that tell where the request comes from: each once, and none from a client that is not trusted.
fn forwarding(
    message: &Message,
    exchange: &Exchange,
    config: &Config,
    client: IpAddr,
) -> Result<(), String> {
    expect(message, "x-forwarded-for", Some(&client.to_string()))?;
    expect(message, "x-forwarded-proto", Some("http"))?;
    expect(message, "x-forwarded-host", Some(&exchange.host()))?;
    if message.one("forwarded")?.is_some() != config.forwarding.forwarded {
        return Err(format!("Forwarded: {:?}", message.one("forwarded")));
    }
    let version = if exchange.http10 { "1.0" } else { "1.1" };
    let via = message.all("via").collect::<Vec<_>>().join(", ");
    let before = if exchange.spoofs {
        "1.1 elsewhere, "
    } else {
        ""
    };
    if via != format!("{before}{version} rondel") {
        return Err(format!("Via: {via}"));
    }
    match message.one("x-request-id")? {
        Some(id) if exchange.spoofs && id != format!("own-{}", exchange.id) => {
            Err(format!("X-Request-Id: {id}"))
        }
        Some(id) if !id.is_empty() => Ok(()),
        other => Err(format!("X-Request-Id: {other:?}")),
    }
}

fn expect(message: &Message, name: &str, value: Option<&str>) -> Result<(), String> {
    let found = message.one(name)?;
    if found == value {
        Ok(())
    } else {
        Err(format!("{name} is {found:?} instead of {value:?}"))
    }
}
