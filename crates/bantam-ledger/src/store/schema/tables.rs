//! The SQL of each version.

/// The first tables.
pub(super) const VERSION_1: &str = "
CREATE TABLE schema_versions (
    version INTEGER PRIMARY KEY,
    applied_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL UNIQUE,
    arrived_ms INTEGER NOT NULL,
    task TEXT,
    template INTEGER,
    requested_model TEXT NOT NULL,
    label TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    streamed INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    baseline_pico INTEGER,
    cost_pico INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    decided_by INTEGER
) STRICT;
CREATE INDEX requests_by_arrival ON requests (arrived_ms);
CREATE TABLE attempts (
    seq INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    backend TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    tokens_in INTEGER,
    tokens_cached INTEGER,
    tokens_out INTEGER,
    started_us INTEGER NOT NULL,
    first_byte_us INTEGER,
    last_byte_us INTEGER NOT NULL,
    price INTEGER,
    cost_pico INTEGER,
    confidence REAL,
    verdict TEXT NOT NULL,
    reason TEXT,
    retries INTEGER NOT NULL,
    PRIMARY KEY (seq, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE prices (
    id INTEGER PRIMARY KEY,
    input_micros INTEGER NOT NULL,
    cached_input_micros INTEGER NOT NULL,
    output_micros INTEGER NOT NULL,
    as_of TEXT NOT NULL,
    UNIQUE (input_micros, cached_input_micros, output_micros, as_of)
) STRICT;
CREATE TABLE templates (
    template INTEGER PRIMARY KEY,
    system_preview TEXT NOT NULL,
    prefix TEXT NOT NULL,
    suffix TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE examples (
    id INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL,
    task TEXT NOT NULL,
    text TEXT NOT NULL,
    answer TEXT NOT NULL,
    model TEXT NOT NULL,
    recorded_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX examples_by_time ON examples (task, recorded_ms, request_id);
";

/// Callers, faults, sums by the hour, blocks.
pub(super) const VERSION_2: &str = "
CREATE TABLE origins (
    id INTEGER PRIMARY KEY,
    caller TEXT,
    endpoint TEXT,
    dialect TEXT
) STRICT;
ALTER TABLE requests ADD COLUMN origin INTEGER;
ALTER TABLE attempts ADD COLUMN fault TEXT;
ALTER TABLE attempts ADD COLUMN upstream_status INTEGER;
DROP INDEX requests_by_arrival;
CREATE INDEX examples_by_age ON examples (recorded_ms);
CREATE TABLE rollups (
    dimension INTEGER NOT NULL,
    hours INTEGER NOT NULL,
    begin INTEGER NOT NULL,
    key ANY NOT NULL,
    usage BLOB NOT NULL,
    PRIMARY KEY (dimension, hours, begin, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE blocks (
    block INTEGER PRIMARY KEY,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    members BLOB NOT NULL
) STRICT;
CREATE TABLE combos (
    id INTEGER PRIMARY KEY,
    task TEXT,
    caller TEXT,
    outcome TEXT NOT NULL,
    tier TEXT,
    model TEXT
) STRICT;
CREATE INDEX combos_by_name ON combos (task, caller, outcome, tier, model);
CREATE TABLE thinned (hour INTEGER PRIMARY KEY) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// What rows have in common in a table of its own, the first attempt in the row of its request, and views that show
/// both as before. The older tables stay under other names until their rows are moved: see
/// [`older`](super::super::older).
pub(super) const VERSION_3: &str = "
INSERT INTO marks (name, value) SELECT 'next_seq', ifnull(max(seq), 0) + 1 FROM requests WHERE true
ON CONFLICT DO UPDATE SET value = max(value, excluded.value);
ALTER TABLE requests RENAME TO requests_2;
ALTER TABLE attempts RENAME TO attempts_2;
CREATE TABLE prices_3 (
    id INTEGER PRIMARY KEY,
    input_micros INTEGER NOT NULL,
    cached_input_micros INTEGER NOT NULL,
    output_micros INTEGER NOT NULL,
    as_of TEXT NOT NULL,
    terms TEXT
) STRICT;
INSERT INTO prices_3 (id, input_micros, cached_input_micros, output_micros, as_of)
SELECT id, input_micros, cached_input_micros, output_micros, as_of FROM prices;
DROP TABLE prices;
ALTER TABLE prices_3 RENAME TO prices;
CREATE TABLE request_kinds (
    id INTEGER PRIMARY KEY,
    task TEXT,
    template INTEGER,
    requested_model TEXT,
    label TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    streamed INTEGER NOT NULL,
    caller TEXT,
    endpoint TEXT,
    dialect TEXT
) STRICT;
CREATE INDEX request_kinds_by_name ON request_kinds (requested_model, template, task, caller, outcome);
CREATE TABLE attempt_kinds (
    id INTEGER PRIMARY KEY,
    backend TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    price INTEGER,
    verdict TEXT NOT NULL,
    reason TEXT,
    fault TEXT,
    upstream_status INTEGER,
    service_tier TEXT,
    counts TEXT,
    unpriced TEXT
) STRICT;
CREATE INDEX attempt_kinds_by_name ON attempt_kinds (model, backend, verdict);
CREATE TABLE request_rows (
    seq INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL UNIQUE,
    arrived_ms INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    template INTEGER,
    requested_model TEXT,
    duration_us INTEGER NOT NULL,
    baseline_pico INTEGER,
    attempt_kind INTEGER,
    tokens_in INTEGER,
    tokens_cached INTEGER,
    tokens_cache_write INTEGER,
    tokens_cache_write_long INTEGER,
    tokens_out INTEGER,
    started_us INTEGER,
    first_byte_us INTEGER,
    last_byte_us INTEGER,
    cost_pico INTEGER,
    confidence REAL,
    retries INTEGER,
    upstream_request_id TEXT,
    extra BLOB
) STRICT;
CREATE TABLE further_attempts (
    seq INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    attempt_kind INTEGER NOT NULL,
    tokens_in INTEGER,
    tokens_cached INTEGER,
    tokens_cache_write INTEGER,
    tokens_cache_write_long INTEGER,
    tokens_out INTEGER,
    started_us INTEGER NOT NULL,
    first_byte_us INTEGER,
    last_byte_us INTEGER NOT NULL,
    cost_pico INTEGER,
    confidence REAL,
    retries INTEGER NOT NULL,
    upstream_request_id TEXT,
    extra BLOB,
    PRIMARY KEY (seq, ordinal)
) STRICT, WITHOUT ROWID;
CREATE VIEW older_requests AS
SELECT r.seq, r.request_id, r.arrived_ms, r.task, r.template, r.requested_model, r.label, r.outcome, r.status,
    r.streamed, r.duration_us, r.baseline_pico, o.caller, o.endpoint, o.dialect
FROM requests_2 r LEFT JOIN origins o ON o.id = r.origin;
CREATE VIEW older_attempts AS
SELECT a.seq, a.ordinal, a.backend, a.model, a.tier, a.tokens_in, a.tokens_cached, NULL AS tokens_cache_write,
    NULL AS tokens_cache_write_long, a.tokens_out, a.started_us, a.first_byte_us, a.last_byte_us, a.cost_pico,
    a.confidence, a.verdict, a.reason, a.retries, a.fault, a.upstream_status, NULL AS service_tier, NULL AS counts,
    NULL AS unpriced, NULL AS upstream_request_id, NULL AS extra, p.input_micros, p.cached_input_micros,
    p.output_micros, p.as_of, p.terms
FROM attempts_2 a LEFT JOIN prices p ON p.id = a.price;
";

/// What the view `requests` shows.
pub(super) const REQUESTS: &str = "
SELECT r.seq, r.request_id, r.arrived_ms, k.task, ifnull(r.template, k.template) AS template,
    ifnull(r.requested_model, k.requested_model) AS requested_model, k.label, k.outcome, k.status, k.streamed,
    r.duration_us, r.baseline_pico, k.caller, k.endpoint, k.dialect
FROM request_rows r JOIN request_kinds k ON k.id = r.kind";

/// What the view `first_attempts` shows: the first of each request.
pub(super) const FIRST_ATTEMPTS: &str = "
SELECT a.seq, 0 AS ordinal, k.backend, k.model, k.tier, a.tokens_in, a.tokens_cached, a.tokens_cache_write,
    a.tokens_cache_write_long, a.tokens_out, a.started_us, a.first_byte_us, a.last_byte_us, a.cost_pico,
    a.confidence, k.verdict, k.reason, a.retries, k.fault, k.upstream_status, k.service_tier, k.counts, k.unpriced,
    a.upstream_request_id, a.extra, p.input_micros, p.cached_input_micros, p.output_micros, p.as_of, p.terms
FROM request_rows a JOIN attempt_kinds k ON k.id = a.attempt_kind LEFT JOIN prices p ON p.id = k.price";

/// What the view `later_attempts` shows: those that followed.
pub(super) const FURTHER_ATTEMPTS: &str = "
SELECT a.seq, a.ordinal, k.backend, k.model, k.tier, a.tokens_in, a.tokens_cached, a.tokens_cache_write,
    a.tokens_cache_write_long, a.tokens_out, a.started_us, a.first_byte_us, a.last_byte_us, a.cost_pico,
    a.confidence, k.verdict, k.reason, a.retries, k.fault, k.upstream_status, k.service_tier, k.counts, k.unpriced,
    a.upstream_request_id, a.extra, p.input_micros, p.cached_input_micros, p.output_micros, p.as_of, p.terms
FROM further_attempts a JOIN attempt_kinds k ON k.id = a.attempt_kind LEFT JOIN prices p ON p.id = k.price";

/// Takes the older tables away.
pub(super) const DROP_OLDER: &str = "
DROP VIEW older_requests;
DROP VIEW older_attempts;
DROP TABLE requests_2;
DROP TABLE attempts_2;
DROP TABLE origins;
";
