//! `price`: what a model charges.

use bantam_types::{LongPromptRates, Price, Rates, ServiceRates, ServiceTier, Usd, UsdPerMillion};

use crate::document::{Node, Value};
use crate::log::Problem;
use crate::origin::Spot;
use crate::section::Section;
use crate::toml_text::{self, TomlText};
use crate::upstream::Dialect;
use crate::value::Named;
use crate::{MistakeKind, date, value};

/// The services that can have rates of their own.
const SERVICES: &[&str] = &["standard", "batch", "flex", "priority"];

/// The most further rates that a price may have.
const RATES_MAX: usize = 32;

/// Rates that hold for one service, or for prompts above a length.
struct FurtherRates {
    service: ServiceTier,
    above: u64,
    rates: Rates,
    spot: Spot,
}

/// Reads a price; `dialect` is that of the upstream, where it is known.
pub(crate) fn read(mut section: Section<'_>, dialect: Option<Dialect>) -> Option<Price> {
    let base = read_rates(&mut section, dialect, true);
    let request_fee = section.optional("request_fee", fee);
    let web_search_fee = section.optional("web_search_fee", fee);
    let as_of = section.required("as_of", day);
    let further = read_further(&mut section, dialect);
    section.finish();
    let of_service = |service: ServiceTier, base: Rates| ServiceRates {
        base,
        long_prompts: further
            .iter()
            .filter(|further| further.service == service && further.above > 0)
            .map(|further| LongPromptRates { above: further.above, rates: further.rates })
            .collect(),
    };
    let of = |service: ServiceTier| {
        let base = further.iter().find(|further| further.service == service && further.above == 0)?;
        Some(of_service(service, base.rates))
    };
    Some(Price {
        standard: of_service(ServiceTier::Standard, base?),
        batch: of(ServiceTier::Batch),
        flex: of(ServiceTier::Flex),
        priority: of(ServiceTier::Priority),
        request_fee: request_fee.map(|fee| fee.value),
        web_search_fee: web_search_fee.map(|fee| fee.value),
        as_of: as_of?.value,
    })
}

/// Reads the rates of one table; `tells_defaults` where its defaults are settings of their own.
fn read_rates(section: &mut Section<'_>, dialect: Option<Dialect>, tells_defaults: bool) -> Option<Rates> {
    let input = section.required("input", dollars).map(|rate| rate.value);
    // Anthropic's price list states these multiples of every model's input price.
    let multiple = |quarters: u64| match dialect {
        Some(Dialect::Anthropic) => times_quarters(input?, quarters),
        Some(Dialect::OpenAi) | None => None,
    };
    let (write, write_long) = (multiple(5), multiple(8));
    let mut rate = |key: &'static str, default: Option<UsdPerMillion>| {
        let is_set = section.has(key);
        let found = section.optional(key, dollars);
        if let Some(default) = default.filter(|_| tells_defaults && !is_set) {
            section.default_is(key, &default);
        }
        if key == "cached_input"
            && let (Some(input), Some(cached)) = (input, &found)
            && cached.value > input
        {
            let problem =
                Problem::new("is dearer than `input`").hint("a cached token never costs more; swapped?");
            section.log().problem(MistakeKind::Conflict, &cached.spot, problem);
        }
        found.map(|rate| rate.value).or(default)
    };
    let cached_input = rate("cached_input", input);
    let cache_write = rate("cache_write", write);
    let cache_write_long = rate("cache_write_long", write_long);
    let audio_input = rate("audio_input", None);
    let output = section.required("output", dollars).map(|rate| rate.value);
    let audio_output = section.optional("audio_output", dollars).map(|rate| rate.value);
    let input = input?;
    Some(Rates {
        input,
        cached_input: cached_input.unwrap_or(input),
        cache_write,
        cache_write_long,
        audio_input,
        output: output?,
        audio_output,
    })
}

/// Returns that many quarters of a rate, where that is a rate.
fn times_quarters(rate: UsdPerMillion, quarters: u64) -> Option<UsdPerMillion> {
    let micros = rate.micros().checked_mul(quarters)?;
    micros.is_multiple_of(4).then(|| UsdPerMillion::from_micros(micros / 4))
}

/// Reads the rates of other services and of long prompts.
fn read_further(section: &mut Section<'_>, dialect: Option<Dialect>) -> Vec<FurtherRates> {
    let Some((spot, tables)) = section.listed_tables("rates") else { return Vec::new() };
    let log = section.log();
    if tables.len() > RATES_MAX {
        let problem =
            Problem::new(format!("has {} tables", tables.len())).hint(format!("allowed: {RATES_MAX}"));
        log.problem(MistakeKind::BadValue, &spot, problem);
        return Vec::new();
    }
    let mut all: Vec<FurtherRates> = Vec::with_capacity(tables.len());
    for mut table in tables {
        let service = table.or("service", ServiceTier::Standard, value::word(SERVICES));
        let above = table.or("above", 0, value::whole(0..=100_000_000_u64));
        let rates = read_rates(&mut table, dialect, false);
        let spot = table.own_spot();
        table.finish();
        let (service, above) = (service.value, above.value);
        let is_told = |known: &FurtherRates| known.service == service && known.above == above;
        let problem = if service == ServiceTier::Standard && above == 0 {
            Some(
                Problem::new("says again what the price itself says")
                    .hint("add `service`, or `above` with the length from which prompts have other rates"),
            )
        } else if all.iter().any(is_told) {
            Some(Problem::new(format!("has rates twice for {service} prompts above {above} tokens")))
        } else {
            None
        };
        match (problem, rates) {
            (Some(problem), _) => log.problem(MistakeKind::Conflict, &spot, problem),
            (None, Some(rates)) => all.push(FurtherRates { service, above, rates, spot }),
            (None, None) => {}
        }
    }
    for long in all.iter().filter(|long| long.service != ServiceTier::Standard && long.above > 0) {
        if !all.iter().any(|other| other.service == long.service && other.above == 0) {
            let problem =
                Problem::new(format!("has rates of the {} service for long prompts alone", long.service))
                    .hint(
                        "add a table with the rates of that service for other prompts: one without `above`",
                    );
            log.problem(MistakeKind::Missing, &long.spot, problem);
        }
    }
    section.list(&spot.key, &all, &spot.place);
    all
}

impl TomlText for FurtherRates {
    fn toml_text(&self) -> String {
        let Rates { input, cached_input, cache_write, cache_write_long, audio_input, output, audio_output } =
            self.rates;
        let rates = [
            ("input", Some(input)),
            ("cached_input", Some(cached_input)),
            ("cache_write", cache_write),
            ("cache_write_long", cache_write_long),
            ("audio_input", audio_input),
            ("output", Some(output)),
            ("audio_output", audio_output),
        ];
        let mut members = Vec::new();
        if self.service != ServiceTier::Standard {
            members.push(format!("service = {}", toml_text::string(self.service.as_str())));
        }
        if self.above > 0 {
            members.push(format!("above = {}", self.above));
        }
        let rates =
            rates.into_iter().filter_map(|(key, rate)| Some(format!("{key} = {}", rate?.toml_text())));
        members.extend(rates);
        format!("{{ {} }}", members.join(", "))
    }
}

impl TomlText for ServiceTier {
    fn toml_text(&self) -> String {
        toml_text::string(self.as_str())
    }
}

impl Named for ServiceTier {
    fn from_name(name: &str) -> Option<Self> {
        Self::of_word(name).filter(|tier| SERVICES.contains(&tier.as_str()))
    }
}

impl TomlText for Usd {
    /// Writes dollars exactly, from the integer.
    fn toml_text(&self) -> String {
        let dollars = self.to_string();
        if dollars.contains('.') { dollars } else { format!("{dollars}.0") }
    }
}

fn dollars(node: &Node) -> Result<UsdPerMillion, Problem> {
    let number = value::any_number(node)?;
    UsdPerMillion::from_dollars(number).map_err(|_| {
        Problem::new(format!("is not a price: {number}"))
            .hint("write dollars per million tokens: 0 to 100000, at most six decimals")
    })
}

fn fee(node: &Node) -> Result<Usd, Problem> {
    let number = value::any_number(node)?;
    // A fee is a million times what a token's price per million is, in the same unit.
    let fee = UsdPerMillion::from_dollars(number).ok().filter(|fee| fee.micros() <= 1_000_000_000);
    fee.map(|fee| fee.cost(1_000_000)).ok_or_else(|| {
        Problem::new(format!("is not a fee: {number}"))
            .hint("write dollars for each one: 0 to 1000, at most six decimals")
    })
}

fn day(node: &Node) -> Result<String, Problem> {
    let written = match &node.value {
        Value::Date(day) => day.clone(),
        _ => value::text(node)?,
    };
    if date::is_day(&written) {
        return Ok(written);
    }
    Err(Problem::new(format!("is not a day: {}", value::quote(&written)))
        .hint("write the day the price was looked up, as in \"2026-11-01\""))
}
