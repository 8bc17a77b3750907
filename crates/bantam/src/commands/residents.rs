//! `bantam ps` and `bantam stop`: the models that a running gateway has in memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bantam_config::{Config, Env};
use bantam_remote::{JsonClient, JsonReply};
use serde_json::Value;

use crate::cli::StopArgs;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::{Globals, ProcessEnv};

/// How long a gateway may take to say what it has in memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// `bantam ps`.
pub(super) fn list(globals: &Globals) -> Result<(), Failure> {
    let server = Server::of(globals)?;
    let body = server.ask(&Verb::Get, "/api/ps", PATIENCE)?;
    let models = body["models"].as_array().cloned().unwrap_or_default();
    if globals.json {
        output::line(Value::from(models).to_string());
        return Ok(());
    }
    if models.is_empty() {
        output::line("no model is in memory: each is loaded when it is asked for");
        return Ok(());
    }
    let heading = ["model", "state", "memory", "requests", "context", "until", "with"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(models.iter().map(row));
    output::table(&rows).iter().for_each(output::line);
    Ok(())
}

fn row(model: &Value) -> Vec<String> {
    let text = |key: &str| model[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| model[key].as_u64().unwrap_or_default();
    let until = match (model["stays"].as_bool(), number("leases")) {
        (Some(true), _) => "its memory is needed".to_owned(),
        (_, 0) => text("expires_at"),
        _ => "in use".to_owned(),
    };
    let shared_by = model["shared_by"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let with = match model["base"].as_str() {
        Some(base) => format!("an adapter on {base}"),
        None => shared_by.collect::<Vec<_>>().join(", "),
    };
    let memory = format!("{:.1} MiB", number("size") as f64 / f64::from(1 << 20));
    let (requests, context) = (number("leases").to_string(), number("context_length").to_string());
    vec![text("name"), text("state"), memory, requests, context, until, with]
}

/// `bantam stop MODEL`.
pub(super) fn stop(args: &StopArgs, globals: &Globals) -> Result<(), Failure> {
    let server = Server::of(globals)?;
    let path = format!("/bantam/unload/{}?wait_ms={}", escaped(&args.model), args.wait * 1_000);
    let patience = PATIENCE + Duration::from_secs(args.wait);
    let body = server.ask(&Verb::Post, &path, patience)?;
    if globals.json {
        output::line(body.to_string());
    } else {
        let status = body["status"].as_str().unwrap_or("done");
        output::line(format!("{}: {status}", args.model));
    }
    Ok(())
}

/// A running gateway.
struct Server {
    address: String,
    key: Option<String>,
}

/// How a path is asked.
enum Verb {
    Get,
    Post,
}

impl Server {
    /// Returns the gateway that the configuration describes, with the first of its keys that is set here.
    fn of(globals: &Globals) -> Result<Self, Failure> {
        let config: Config = globals.quietly().load()?;
        let mut bind = config.server.bind;
        if bind.port() == 0 {
            return Err(Failure::new(
                Outcome::Usage,
                "the configuration leaves the gateway's port to the system",
            )
            .hint("say where it listens: --set server.bind=127.0.0.1:PORT"));
        }
        match bind.ip() {
            IpAddr::V4(address) if address.is_unspecified() => bind.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(address) if address.is_unspecified() => bind.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let key = config.server.api_key_envs.iter().find_map(|name| ProcessEnv.get(name));
        Ok(Self { address: bind.to_string(), key })
    }

    /// Returns the answer of the gateway, where it is a good one.
    fn ask(&self, verb: &Verb, path: &str, patience: Duration) -> Result<Value, Failure> {
        let client = JsonClient::new(patience)
            .map_err(|error| Failure::from_error("cannot set up the HTTP client", &error))?;
        let (url, key) = (format!("http://{}{path}", self.address), self.key.as_deref());
        let asked = async {
            match verb {
                Verb::Get => client.get(&url, key).await,
                Verb::Post => client.post(&url, key).await,
            }
        };
        let reply = super::runtime(1)?.block_on(asked).map_err(|error| {
            Failure::from_error(format!("cannot ask the gateway at {}", self.address), &error)
                .hint("start it with `bantam serve`, or say where it is: --set server.bind=ADDRESS:PORT")
        })?;
        self.good(reply)
    }

    fn good(&self, reply: JsonReply) -> Result<Value, Failure> {
        let JsonReply { status, body } = reply;
        if status == 200 && body.is_object() {
            return Ok(body);
        }
        let (message, code) = (body["error"]["message"].as_str(), body["error"]["code"].as_str());
        let said = message.map_or_else(|| format!("status {status}"), str::to_owned);
        let failure = |outcome| Failure::new(outcome, format!("the gateway at {}: {said}", self.address));
        Err(match (status, code) {
            (404, Some("model_not_found" | "model_not_here")) => failure(Outcome::ModelMissing),
            (401 | 403, _) => failure(Outcome::Refused)
                .hint("set the variable of `server.api_key_envs` that holds the gateway's key"),
            (404, _) | (200, _) => failure(Outcome::Failed)
                .hint("another program may listen there, or a gateway of an older version"),
            _ => failure(Outcome::Failed),
        })
    }
}

/// Writes a name as part of a path.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_one_segment() {
        assert_eq!(escaped("vendor/a b:3"), "vendor%2Fa%20b%3A3");
    }
}
