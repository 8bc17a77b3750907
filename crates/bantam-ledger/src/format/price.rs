//! Prices and what answers took, as bytes and back.

use bantam_types::{
    AnswerUsage, CountState, LongPromptRates, Price, Rates, ServiceRates, ServiceTier, TokenUsage, Usd,
    UsdPerMillion,
};

use super::DecodeError;
use super::numbers::{Body, flags, put_number, put_signed, put_text};

pub(super) fn put_usage(out: &mut Vec<u8>, usage: &AnswerUsage) {
    let AnswerUsage { tokens, audio_input, audio_output, web_searches, service_tier, counts } = *usage;
    let TokenUsage { input, cached_input, cache_write, cache_write_long, output } = tokens;
    [input, cached_input, output].into_iter().for_each(|count| put_number(out, count));
    let seldom = [cache_write, cache_write_long, audio_input, audio_output, web_searches];
    let [has_write, has_long, has_audio_in, has_audio_out, has_searches] = seldom.map(|count| count > 0);
    out.push(flags([
        has_write,
        has_long,
        has_audio_in,
        has_audio_out,
        has_searches,
        service_tier.is_some(),
        matches!(counts, CountState::Partial | CountState::Unmodelled),
        matches!(counts, CountState::Contradictory | CountState::Unmodelled),
    ]));
    seldom.into_iter().filter(|count| *count > 0).for_each(|count| put_number(out, count));
    if let Some(tier) = service_tier {
        put_text(out, tier.as_str());
    }
}

pub(super) fn put_price(out: &mut Vec<u8>, price: &Price) {
    let Price { standard, batch, flex, priority, request_fee, web_search_fee, as_of } = price;
    let services = [batch, flex, priority];
    let fees = [request_fee, web_search_fee];
    let [has_batch, has_flex, has_priority] = services.map(Option::is_some);
    let [has_request_fee, has_web_search_fee] = fees.map(Option::is_some);
    out.push(flags([has_batch, has_flex, has_priority, has_request_fee, has_web_search_fee]));
    put_service(out, standard);
    services.into_iter().flatten().for_each(|rates| put_service(out, rates));
    fees.into_iter().flatten().for_each(|fee| put_signed(out, fee.picodollars()));
    put_text(out, as_of);
}

fn put_service(out: &mut Vec<u8>, rates: &ServiceRates) {
    put_rates(out, &rates.base);
    put_number(out, rates.long_prompts.len() as u64);
    for long in &rates.long_prompts {
        put_number(out, long.above);
        put_rates(out, &long.rates);
    }
}

fn put_rates(out: &mut Vec<u8>, rates: &Rates) {
    let Rates { input, cached_input, cache_write, cache_write_long, audio_input, output, audio_output } =
        *rates;
    let seldom = [cache_write, cache_write_long, audio_input, audio_output];
    out.push(flags(seldom.map(|rate| rate.is_some())));
    let known = [input, cached_input, output].into_iter().chain(seldom.into_iter().flatten());
    known.for_each(|rate| put_number(out, rate.micros()));
}

impl Body<'_> {
    /// Reads what an answer took. Versions 1 and 2 had only its first three counts.
    pub(super) fn usage(&mut self, version: u8) -> Result<AnswerUsage, DecodeError> {
        let (input, cached_input) = (self.number("input tokens")?, self.number("cached tokens")?);
        let output = self.number("output tokens")?;
        let tokens = TokenUsage::new(input, cached_input, output);
        if version <= 2 {
            return Ok(tokens.into());
        }
        let [write, long, audio_in, audio_out, searches, has_tier, is_partial, is_contradictory] =
            self.flags()?;
        let mut count = |is_there: bool, field| if is_there { self.number(field) } else { Ok(0) };
        let (cache_write, cache_write_long) =
            (count(write, "cache writes")?, count(long, "long cache writes")?);
        Ok(AnswerUsage {
            tokens: TokenUsage { cache_write, cache_write_long, ..tokens },
            audio_input: count(audio_in, "audio input")?,
            audio_output: count(audio_out, "audio output")?,
            web_searches: count(searches, "searches")?,
            service_tier: has_tier.then(|| self.service_tier()).transpose()?,
            counts: match (is_partial, is_contradictory) {
                (false, false) => CountState::Complete,
                (true, false) => CountState::Partial,
                (false, true) => CountState::Contradictory,
                (true, true) => CountState::Unmodelled,
            },
        })
    }

    fn service_tier(&mut self) -> Result<ServiceTier, DecodeError> {
        ServiceTier::of_word(self.text("service tier")?).ok_or(DecodeError::Field("service tier"))
    }

    /// Reads a price. Versions 1 and 2 had only three rates.
    pub(super) fn price(&mut self, version: u8) -> Result<Price, DecodeError> {
        if version <= 2 {
            let rates = Rates {
                input: self.rate("input price")?,
                cached_input: self.rate("cached price")?,
                output: self.rate("output price")?,
                ..Rates::default()
            };
            return Ok(Price::flat(rates, self.text("price's day")?));
        }
        let [has_batch, has_flex, has_priority, has_request_fee, has_web_search_fee] = self.flags()?;
        Ok(Price {
            standard: self.service()?,
            batch: has_batch.then(|| self.service()).transpose()?,
            flex: has_flex.then(|| self.service()).transpose()?,
            priority: has_priority.then(|| self.service()).transpose()?,
            request_fee: has_request_fee.then(|| self.fee("fee of a request")).transpose()?,
            web_search_fee: has_web_search_fee.then(|| self.fee("fee of a search")).transpose()?,
            as_of: self.text("price's day")?.to_owned(),
        })
    }

    fn service(&mut self) -> Result<ServiceRates, DecodeError> {
        let base = self.rates()?;
        let count = self.number("count of long prompts")?;
        // Each takes at least five bytes, so a wrong count cannot ask for much memory.
        if count > self.len() as u64 / 5 {
            return Err(DecodeError::Field("count of long prompts"));
        }
        let long = |_| Ok(LongPromptRates { above: self.number("long prompt")?, rates: self.rates()? });
        Ok(ServiceRates { base, long_prompts: (0..count).map(long).collect::<Result<_, DecodeError>>()? })
    }

    fn rates(&mut self) -> Result<Rates, DecodeError> {
        let [write, long, audio_in, audio_out] = self.flags()?;
        let (input, cached_input) = (self.rate("input price")?, self.rate("cached price")?);
        let output = self.rate("output price")?;
        let mut seldom = |is_there: bool, field| is_there.then(|| self.rate(field)).transpose();
        Ok(Rates {
            input,
            cached_input,
            cache_write: seldom(write, "price of cache writes")?,
            cache_write_long: seldom(long, "price of long cache writes")?,
            audio_input: seldom(audio_in, "price of audio input")?,
            output,
            audio_output: seldom(audio_out, "price of audio output")?,
        })
    }

    fn rate(&mut self, field: &'static str) -> Result<UsdPerMillion, DecodeError> {
        self.number(field).map(UsdPerMillion::from_micros)
    }

    fn fee(&mut self, field: &'static str) -> Result<Usd, DecodeError> {
        self.signed(field).map(Usd::from_picodollars)
    }
}
