//! The table itself: long, and nothing but data.

use super::DefaultValue::{Derived, Required, Unset, Value};
use super::ValueKind::{Boolean, Number, OneOf, Text, Texts, Whole};
use super::{KnownSetting, ValueKind};

macro_rules! settings {
    ($($key:literal: $kind:expr, $default:expr, $about:literal;)*) => {
        /// Every setting, in the order of the file.
        pub const ALL: &[KnownSetting] =
            &[$(KnownSetting { key: $key, kind: $kind, default: $default, about: $about }),*];
    };
}

const fn whole(min: u64, max: u64) -> ValueKind {
    Whole { min, max }
}

const MILLISECONDS: ValueKind = whole(1, 3_600_000);
const LABELS: ValueKind = OneOf(&["public", "internal", "confidential", "restricted"]);
const LABELS_OF_TERMS: ValueKind = OneOf(&["internal", "confidential", "restricted"]);
const TIERS: ValueKind = OneOf(&["local", "mid", "frontier"]);
const PATH: ValueKind = Text("path; a relative one starts from the configuration's folder");
const VARIABLE: ValueKind = Text("name of an environment variable");
const PROXY: ValueKind = Text("`\"http://HOST:PORT\"`, `\"env\"` or `\"none\"`");
const DOLLARS: ValueKind = Text("dollars per million tokens, 0 to 100,000, at most six decimals");
const FEE: ValueKind = Text("dollars, 0 to 1,000, at most six decimals");

settings! {
    "server.bind": Text("IP address and port"), Value("\"127.0.0.1:5454\""),
        "The address to listen on. One that is not loopback needs `api_key_envs`.";
    "server.allowed_hosts": Texts("host names, with or without a port"), Value("[]"),
        "`Host` values to allow beyond loopback names and the bind address.";
    "server.allowed_origins": Texts("origins, such as `\"https://chat.example.com\"`"), Value("[]"),
        "Browser origins whose pages may call the server and read its answers. Pages of others are refused.";
    "server.api_key_envs": Texts("names of environment variables"), Value("[]"),
        "Variables that each hold one accepted key of at least 32 characters. An empty list asks for no key.";
    "server.body_bytes_max": whole(1_024, 1_073_741_824), Value("4194304"), "The largest request body, in bytes.";
    "server.json_depth_max": whole(4, 128), Value("64"), "How deep a request's JSON may nest.";
    "server.memory": Text("amount of memory, such as `\"2 GiB\"`"),
        Derived("an eighth of what the machine, or the process's group, may use; 64 MiB to 4 GiB"),
        "What requests and answers may take of the memory together. Beyond it, a body waits for a second and is then refused with 503.";
    "server.concurrent_requests_max": whole(1, 1_000_000), Value("1024"), "How many requests are worked on at once.";
    "server.queue_requests_max": whole(0, 1_000_000), Value("1024"),
        "How many requests may wait for their turn. The next one is refused with 429.";
    "server.header_timeout_ms": MILLISECONDS, Value("10000"), "How long a caller may take to send the headers.";
    "server.body_timeout_ms": MILLISECONDS, Value("30000"), "How long a caller may take to send the body.";
    "server.write_timeout_ms": MILLISECONDS, Value("60000"),
        "How long a caller may take nothing of an answer. Then its connection is closed, or over HTTP/2 its stream reset.";
    "server.idle_timeout_ms": MILLISECONDS, Value("75000"), "How long a connection may stay open without a request.";
    "server.drain_timeout_ms": MILLISECONDS, Value("10000"),
        "How long running requests may take to finish at shutdown.";
    "server.stream_keep_alive_ms": MILLISECONDS, Value("10000"),
        "After how much silence the caller of a stream gets its head and a comment, so that proxies between keep the connection.";
    "server.threads": whole(0, 1024), Value("0"), "How many threads serve requests. 0 means one a core.";
    "ledger.path": PATH, Derived("`ledger.sqlite` in the state folder"),
        "The ledger's file. Its journal lies beside it.";
    "ledger.acknowledge": OneOf(&["process-crash", "power-loss"]), Value("\"process-crash\""),
        "What an acknowledged cost survives. With `power-loss` callers wait for the disk.";
    "ledger.keep_days": whole(1, 36_500), Unset,
        "How many days single requests are kept. Sums by the hour stay, so `bantam usage` still tells of earlier months.";
    "ledger.keep_size": Text("amount of disk space, such as `\"20 GiB\"`"), Unset,
        "How large the ledger's file may grow before the oldest single requests are removed.";
    "ledger.keep_prompt_previews": Boolean, Value("false"),
        "Whether the beginnings of discovered prompts are kept, up to 160 characters each, for `bantam task list` to \
         show. Without it no text of a prompt is stored, and what was stored before is erased at the next start.";
    "store.path": PATH, Derived("`models` in the data folder"), "The folder that models are kept in.";
    "students.threads": whole(0, 256), Value("0"),
        "How many threads encoder students compute on, all together. 0 means one a core.";
    "local.memory": Text("amount of memory, such as `\"8 GiB\"`"), Derived("four fifths of what is free at the start"),
        "How much memory language models in this process may take, all together.";
    "local.keep_alive": Text("length of time, such as `\"30s\"`, `\"5m\"`, `\"2h\"`, or `\"always\"`"),
        Value("\"5m\""),
        "How long a model stays in memory after its last request.";
    "routing.ladder": Texts("model names"), Value("[]"),
        "The models that `auto` tries, smallest first. Without it there is no `auto`.";
    "routing.auto_names": Texts("names"), Value("[]"), "Names that unchanged callers use and that mean `auto`.";
    "routing.baseline": Text("model name"), Derived("the dearest frontier model with a price"),
        "The model that savings are measured against.";
    "privacy.mid": LABELS, Value("\"internal\""), "The most sensitive label that the mid tier may see.";
    "privacy.frontier": LABELS, Value("\"internal\""), "The most sensitive label that the frontier tier may see.";
    "privacy.dictionary.term": Text("text of 2 characters or more"), Required,
        "A word or words that make a request sensitive. Case makes no difference.";
    "privacy.dictionary.label": LABELS_OF_TERMS, Value("\"confidential\""),
        "What a request with the term is labelled at least.";
    "network.proxy": PROXY, Unset,
        "The proxy that upstreams are reached through whose own `proxy` says nothing. This machine is never reached through \
         one. `env` takes it from `HTTPS_PROXY`, `http_proxy`, `ALL_PROXY` and `NO_PROXY`, which count nowhere else.";
    "network.proxy_login_env": VARIABLE, Unset, "The variable that holds `user:password` for that proxy.";
    "upstreams.*.kind": OneOf(&["auto", "ollama", "llama-server", "llama-cpp-python", "vllm"]), Unset,
        "Which engine it is; `auto` asks it. What that engine would ignore is refused.";
    "upstreams.*.dialect": OneOf(&["openai", "anthropic"]), Derived("`\"openai\"` with a `kind`; otherwise required"),
        "The API that it speaks.";
    "upstreams.*.base_url": Text("`http` or `https` URL"),
        Derived("where the engine of this `kind` usually listens; otherwise required"),
        "Where requests go, followed by `path`.";
    "upstreams.*.path": Text("path that begins with `/`"),
        Derived("`/chat/completions` for OpenAI's dialect, `/v1/messages` for Anthropic's"),
        "What follows `base_url`. `{model}` is replaced by the model's name.";
    "upstreams.*.api_key_env": VARIABLE, Unset, "The variable that holds the key. Without it no key is sent.";
    "upstreams.*.auth": OneOf(&["bearer", "api-key", "x-api-key", "none"]),
        Derived("`\"bearer\"`, for Anthropic's dialect `\"x-api-key\"`, without a key `\"none\"`"),
        "How the key is sent. Azure takes `api-key`.";
    "upstreams.*.ca_file": PATH, Unset, "A file of root certificates to trust beyond the built-in ones.";
    "upstreams.*.trusted": Boolean, Value("false"),
        "Whether bytes of any label may go there although its host is not recognisably private, so that local models \
         may run there.";
    "upstreams.*.allow_plain_http": Boolean, Value("false"),
        "Whether plain HTTP to a host that is not recognisably private is allowed.";
    "upstreams.*.connect_timeout_ms": MILLISECONDS, Value("3000"), "How long connecting may take, TLS included.";
    "upstreams.*.first_byte_timeout_ms": MILLISECONDS, Value("60000"),
        "How long the first byte of an answer's body may take, a comment or blank line included.";
    "upstreams.*.chunk_timeout_ms": MILLISECONDS, Value("30000"),
        "How long each next byte of an answer may take. Pings and comments count.";
    "upstreams.*.total_timeout_ms": MILLISECONDS, Value("300000"),
        "How long one attempt may take, retries included. No other limit may be longer.";
    "upstreams.*.retries_max": whole(0, 10), Value("2"),
        "How often a failed call may be repeated before its first byte.";
    "upstreams.*.retry_sent": Boolean, Value("false"),
        "Whether a call may also be repeated after the request was sent: when the connection broke, or the upstream failed with \
         500, 502 or 504. It may have been answered and billed already, so each repeat is an attempt of its own in the ledger.";
    "upstreams.*.concurrent_requests_max": whole(1, 100_000), Value("256"), "How many calls may run at once.";
    "upstreams.*.response_bytes_max": whole(1_024, 1_073_741_824), Value("16777216"), "The largest answer, in bytes.";
    "upstreams.*.http": OneOf(&["auto", "1.1", "2"]), Value("\"auto\""),
        "The version of HTTP. `auto` speaks HTTP/2 over TLS where the server does, and HTTP/1.1 without TLS. `2` speaks \
         nothing else, also without TLS.";
    "upstreams.*.proxy": PROXY, Derived("`network.proxy`, but for this machine"),
        "The proxy that it is reached through. No local model may run behind one.";
    "upstreams.*.proxy_login_env": VARIABLE, Derived("`network.proxy_login_env` with its proxy"),
        "The variable that holds `user:password` for the proxy.";
    "upstreams.*.headers": Text("table of names and values; `{ env = \"NAME\" }` for a secret"), Value("{}"),
        "Headers of every request. Those of the key, of the body and of the connection cannot be set.";
    "upstreams.*.forward_headers": Texts("names of headers"), Value("[]"),
        "Headers of callers that are passed on, and scanned like the body. By default none are.";
    "upstreams.*.trace_context": Boolean, Derived("`true` for a private host, else `false`"),
        "Whether a caller's valid `traceparent` and `tracestate` are passed on, as they are.";
    "upstreams.*.stream_usage": OneOf(&["auto", "true", "false"]), Value("\"auto\""),
        "Whether streams are asked for their usage by `stream_options`. `auto` asks, and where that is refused sends the \
         request without, and remembers it for an hour. A stream without usage is not priced.";
    "upstreams.*.output_limit": OneOf(&["auto", "max_tokens", "max_completion_tokens"]), Value("\"auto\""),
        "What the limit of a chat's tokens is called. `auto` leaves it as the caller writes it, and sends and remembers the \
         other name where that is refused.";
    "upstreams.*.developer_role": OneOf(&["auto", "true", "false"]), Value("\"auto\""),
        "Whether the role `developer` is passed on, or `system` is sent in its place. `auto` does the latter where the \
         former is refused.";
    "upstreams.*.fields": Texts("names of parameters, such as `\"top_k\"`"), Value("[]"),
        "Parameters of callers that are passed on although they are no part of the dialect. All others are refused by name.";
    "models.*.upstream": Text("name of an upstream"), Derived("none with a `file` or `store`; otherwise required"),
        "Where the model runs.";
    "models.*.name": Text("text"), Derived("the table's name"), "What the upstream calls the model.";
    "models.*.tier": TIERS, Derived("`\"local\"` for an engine on loopback that has a `kind`; otherwise required"),
        "What the model costs and where its bytes go. `local` sees every label.";
    "models.*.file": PATH, Unset,
        "A GGUF file, or a folder with `config.json`, safetensors and `tokenizer.json`, to run in this process. A \
         sentence encoder answers embeddings.";
    "models.*.store": Text("name of a model, as `bantam list` shows it"), Unset,
        "A model of the store to run in this process.";
    "models.*.adapter": PATH, Unset,
        "A PEFT folder or a GGUF file that changes the model for this name alone. Names with the same `file` share \
         one model in memory.";
    "models.*.kv_tokens": whole(64, 100_000_000),
        Derived("`16384` at first, and more once a request needs it and `local.memory` has room"),
        "How many tokens' keys and values stay in memory, for requests and repeated prompts. No request has more.";
    "models.*.keep_alive": Text("length of time, such as `\"30s\"`, `\"5m\"`, `\"2h\"`, or `\"always\"`"),
        Derived("`local.keep_alive`"),
        "How long it stays in memory after its last request.";
    "models.*.preload": Boolean, Value("false"), "Whether it is loaded at the start and not at the first request.";
    "models.*.context_tokens": whole(1, 100_000_000), Unset,
        "How many tokens it can hold, prompt and answer together.";
    "models.*.output_tokens": whole(1, 1_000_000), Derived("`4096` with Anthropic's API, which requires a limit"),
        "The most tokens of an answer whose caller sets no limit. Thinking comes on top of it.";
    "models.*.thinking": OneOf(&["none", "budget", "adaptive"]), Derived("`\"budget\"` with Anthropic's API"),
        "What becomes of `reasoning_effort`: tokens to think for, as Claude models up to Opus 4.5 take it, a word \
         for the effort, as newer ones do, or nothing, for models that do not think.";
    "models.*.price.input": DOLLARS, Required,
        "What an input token costs. Without a `price` the model's cost is not counted.";
    "models.*.price.cached_input": DOLLARS, Derived("`input`"), "What an input token from the provider's cache costs.";
    "models.*.price.cache_write": DOLLARS, Derived("1.25 times `input` with Anthropic's API"),
        "What an input token costs that the provider writes to its cache, for minutes.";
    "models.*.price.cache_write_long": DOLLARS, Derived("2 times `input` with Anthropic's API"),
        "What an input token costs that the provider writes to its cache, for an hour or longer.";
    "models.*.price.audio_input": DOLLARS, Unset, "What an input token costs that stands for sound.";
    "models.*.price.output": DOLLARS, Required, "What an output token costs, reasoning included.";
    "models.*.price.audio_output": DOLLARS, Unset, "What an output token costs that stands for sound.";
    "models.*.price.request_fee": FEE, Unset, "What each request costs beside its tokens.";
    "models.*.price.web_search_fee": FEE, Unset,
        "What each search of the web costs that the provider makes for an answer.";
    "models.*.price.as_of": Text("day, such as `\"2026-11-01\"`"), Required, "When the price was looked up.";
    "models.*.price.rates.service": OneOf(&["standard", "batch", "flex", "priority"]), Derived("`\"standard\"`"),
        "The provider's service in which these rates hold, as its answers name it. Without rates of its own, an answer \
         from another service than the standard one is unpriced.";
    "models.*.price.rates.above": whole(0, 100_000_000), Derived("`0`"),
        "These rates hold for prompts of more input tokens than this, cached ones included: for all tokens of the request.";
    "models.*.price.rates.input": DOLLARS, Required, "As in the price itself.";
    "models.*.price.rates.cached_input": DOLLARS, Derived("`input` of the same rates"), "As in the price itself.";
    "models.*.price.rates.cache_write": DOLLARS, Derived("1.25 times `input` of the same rates with Anthropic's API"),
        "As in the price itself.";
    "models.*.price.rates.cache_write_long": DOLLARS, Derived("2 times `input` of the same rates with Anthropic's API"),
        "As in the price itself.";
    "models.*.price.rates.audio_input": DOLLARS, Unset, "As in the price itself.";
    "models.*.price.rates.output": DOLLARS, Required, "As in the price itself.";
    "models.*.price.rates.audio_output": DOLLARS, Unset, "As in the price itself.";
    "tasks.*.kind": OneOf(&["classify", "extract", "rewrite", "summarize", "generate", "embed"]), Required,
        "What kind of answer the task wants.";
    "tasks.*.labels": Texts("labels"), Derived("those of the student"),
        "The answers that a classification may have, two or more.";
    "tasks.*.student": PATH, Unset, "The student's file, or a decoder's folder.";
    "tasks.*.student_model": Text("model name"), Unset,
        "A language model of this process as the student, in place of a file.";
    "tasks.*.schema": PATH, Unset,
        "The JSON schema that every answer keeps to. A task that extracts by `student_model` needs it, or `regex` or \
         `grammar`.";
    "tasks.*.regex": Text("regular expression of at most 4 KiB, without look-around and back-references"), Unset,
        "What the whole answer of a `student_model` matches.";
    "tasks.*.grammar": PATH, Unset, "The Lark grammar of a `student_model`'s answers; the rule `start` comes first.";
    "tasks.*.answer_tokens_max": whole(1, 1_000_000), Derived("512"),
        "The most tokens of a `student_model`'s answer. A longer one is cut off and so discarded.";
    "tasks.*.samples": whole(0, 16), Derived("0"),
        "Answers of a `student_model` that are drawn beside the first. Their agreement counts in the confidence.";
    "tasks.*.base": PATH, Derived("where training found it"),
        "The folder of the encoder, or the base of the decoder, under the student.";
    "tasks.*.certificate": PATH, Derived("beside the student, when it is there"), "The student's certificate.";
    "tasks.*.allow_uncertified": Boolean, Value("false"), "Whether a student without a certificate may answer alone.";
    "tasks.*.uncertified_threshold": Number { min: 0.0, max: 1.0 }, Derived("0.95 with `allow_uncertified`"),
        "The confidence from which it then answers; above 0.";
    "tasks.*.ladder": Texts("model names, and `\"student\"`"), Derived("the student, then `routing.ladder`"),
        "What is asked, smallest first. Tiers never go down.";
    "tasks.*.instructions": Text("text of at most 64 KiB"), Derived("made of the labels"),
        "The system prompt for a bare text.";
    "tasks.*.templates": Texts("fingerprints of 16 hexadecimal digits, as `bantam task list` shows them"), Value("[]"),
        "Prompts that belong to this task. No other task may list one of them.";
    "tasks.*.answer_key": Text("text of at most 128 bytes"), Derived("the bare label"),
        "Answers are JSON objects with the label under this key.";
    "tasks.*.out_of_scope_label": Text("label"), Unset, "The label that means: none of this task's business.";
    "tasks.*.record": Boolean, Value("false"),
        "Whether the teacher's answers are kept to train from, each with the text that it answers.";
    "tasks.*.audit_share": Number { min: 0.0, max: 0.5 }, Value("0.0"),
        "The share of accepted local answers that is also sent up.";
    "tasks.*.minimum_label": LABELS, Value("\"public\""), "What every request of this task is labelled at least.";
}
