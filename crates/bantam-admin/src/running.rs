//! A running gateway: which models it has in memory, and unloading one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bantam_config::{Config, Env};
use bantam_jobs::FailureReason;
use bantam_remote::{FetchError, JsonClient, JsonReply};
use serde::{Deserialize, Serialize};

use crate::error::UseCaseError;
use crate::text::until_text;

/// How long a gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A model, or an adapter over one, in a gateway's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedModel {
    /// What callers call it.
    pub name: String,
    /// Its file with a checksum, as the ledger has it.
    pub identity: String,
    /// `loading`, `loaded` or `leaving`.
    pub state: String,
    /// Bytes of memory that it takes; for an adapter, its own alone.
    pub size: u64,
    /// Requests that use it now.
    pub leases: u64,
    /// Tokens of the longest request.
    pub context_length: u64,
    /// When it is unloaded if nobody asks for it, in RFC 3339; far away where it stays.
    pub expires_at: String,
    /// Whether it stays until its memory is needed.
    pub stays: bool,
    /// The other names that share it.
    pub shared_by: Vec<String>,
    /// For an adapter: the name of the model that it runs on.
    pub base: Option<String>,
}

impl LoadedModel {
    /// Returns in words until when it stays.
    pub fn until(&self) -> String {
        match (self.stays, self.leases, self.expires_at.parse::<jiff::Timestamp>()) {
            (true, ..) => "memory is needed".to_owned(),
            (_, 0, Ok(when)) => {
                until_text(when.duration_since(jiff::Timestamp::now()).try_into().unwrap_or_default())
            }
            (_, 0, Err(_)) => self.expires_at.clone(),
            _ => "in use".to_owned(),
        }
    }

    /// Returns in words what it shares its memory with.
    pub fn company(&self) -> String {
        match &self.base {
            Some(base) => format!("an adapter on {base}"),
            None => self.shared_by.join(", "),
        }
    }
}

/// What became of unloading a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unloaded {
    /// The model.
    pub model: String,
    /// `unloaded`, or `not loaded`.
    pub status: String,
}

/// Why a gateway did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The configuration does not say where it listens.
    #[error("the configuration leaves the gateway's port to the system")]
    NoPort,
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[from] bantam_remote::BuildClientError),
    /// It did not answer.
    #[error("cannot ask the gateway at {address}")]
    Unreachable {
        /// Where it was asked.
        address: SocketAddr,
        /// Why there was no answer.
        #[source]
        source: FetchError,
    },
    /// It refused.
    #[error("the gateway at {address}: {message}")]
    Answered {
        /// Where it was asked.
        address: SocketAddr,
        /// The status of its answer.
        status: u16,
        /// The error's code, where there was one.
        code: Option<String>,
        /// What it said.
        message: String,
    },
}

impl UseCaseError for GatewayError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::NoPort => FailureReason::Invalid,
            Self::Answered { status: 404, code: Some(code), .. }
                if matches!(&**code, "model_not_found" | "model_not_here") =>
            {
                FailureReason::NotFound
            }
            Self::Answered { status: 401 | 403, .. } => FailureReason::Refused,
            Self::Client(_) | Self::Unreachable { .. } | Self::Answered { .. } => FailureReason::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoPort => "give server.bind a port",
            Self::Client(_) => return None,
            Self::Unreachable { .. } => "start it, or say where it listens with server.bind",
            Self::Answered { status: 401 | 403, .. } => {
                "set the variable in server.api_key_envs that holds the gateway's key"
            }
            Self::Answered { status: 404 | 200, .. } if self.reason() != FailureReason::NotFound => {
                "another program may listen there, or an older version of the gateway"
            }
            Self::Answered { .. } => return None,
        };
        Some(text.to_owned())
    }
}

/// Asks a running gateway.
pub struct GatewayClient {
    address: SocketAddr,
    key: Option<String>,
}

impl GatewayClient {
    /// Returns a client of the gateway that a configuration describes, with the first of its keys that is set.
    ///
    /// # Errors
    /// When the configuration does not say where it listens.
    pub fn new(config: &Config, env: &dyn Env) -> Result<Self, GatewayError> {
        let mut address = config.server.bind;
        if address.port() == 0 {
            return Err(GatewayError::NoPort);
        }
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let key = config.server.api_key_envs.iter().find_map(|name| env.get(name));
        Ok(Self { address, key })
    }

    /// Returns the models that the gateway has in memory.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn loaded(&self) -> Result<Vec<LoadedModel>, GatewayError> {
        #[derive(Deserialize)]
        struct Answer {
            models: Vec<LoadedModel>,
        }
        let url = format!("http://{}/api/ps", self.address);
        let reply = JsonClient::new(PATIENCE)?.get(&url, self.key.as_deref()).await;
        Ok(self.good::<Answer>(reply)?.models)
    }

    /// Unloads a model once nobody uses it, and waits for that at most for `wait`.
    ///
    /// # Errors
    /// When the gateway does not answer, has no such model, or the model is used for longer.
    pub async fn unload(&self, model: &str, wait: Duration) -> Result<Unloaded, GatewayError> {
        let (name, wait_ms) = (escaped(model), wait.as_millis());
        let url = format!("http://{}/bantam/unload/{name}?wait_ms={wait_ms}", self.address);
        let reply = JsonClient::new(PATIENCE + wait)?.post(&url, self.key.as_deref()).await;
        self.good(reply)
    }

    fn good<T: serde::de::DeserializeOwned>(
        &self,
        reply: Result<JsonReply, FetchError>,
    ) -> Result<T, GatewayError> {
        let address = self.address;
        let JsonReply { status, body } =
            reply.map_err(|source| GatewayError::Unreachable { address, source })?;
        let text = |key: &str| body["error"][key].as_str().map(str::to_owned);
        let (said, code) = (text("message"), text("code"));
        if status == 200
            && let Ok(answer) = serde_json::from_value::<T>(body)
        {
            return Ok(answer);
        }
        let message = said.unwrap_or_else(|| format!("status {status}"));
        Err(GatewayError::Answered { address, status, code, message })
    }
}

/// Writes a name as one segment of a path.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn names_are_escaped_as_one_segment() {
        assert_eq!(escaped("vendor/a b:3"), "vendor%2Fa%20b%3A3");
    }

    #[test]
    fn what_the_gateway_answers_is_told_apart() {
        let client = GatewayClient { address: SocketAddr::from(([127, 0, 0, 1], 5454)), key: None };
        let check = |status, body: Value, expected: FailureReason| {
            let error = client.good::<Unloaded>(Ok(JsonReply { status, body })).unwrap_err();
            assert_eq!(error.reason(), expected, "{error}");
        };
        let error = |code: &str| serde_json::json!({ "error": { "code": code, "message": "no" } });
        check(404, error("model_not_found"), FailureReason::NotFound);
        check(404, error("not_found"), FailureReason::Failed);
        check(401, error("unauthorized"), FailureReason::Refused);
        check(200, Value::Null, FailureReason::Failed);
        check(409, error("model_in_use"), FailureReason::Failed);
    }
}
