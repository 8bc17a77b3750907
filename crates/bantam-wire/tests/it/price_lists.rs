//! What answers of two providers cost, calculated by hand from their price lists.
//!
//! Each block is a `usage` object as the provider writes it; beside it stands its cost in picodollars: the sum of tokens
//! times the price in millionths of a dollar per million tokens.

use bantam_types::{LongPromptRates, Price, Rates, ServiceRates, Unpriced, Usd, UsdPerMillion};
use bantam_wire::Format;

fn dollars(dollars: f64) -> UsdPerMillion {
    UsdPerMillion::from_dollars(dollars).unwrap()
}

fn rates(input: f64, cached_input: f64, output: f64) -> Rates {
    let [input, cached_input, output] = [input, cached_input, output].map(dollars);
    Rates { input, cached_input, output, ..Rates::default() }
}

/// Returns rates with Anthropic's multiples: 1.25 times the input to write for five minutes, twice for an hour, a tenth to
/// read.
fn anthropic(input: f64, output: f64) -> Rates {
    let [minutes, hour] = [input * 1.25, input * 2.0].map(|price| Some(dollars(price)));
    Rates { cache_write: minutes, cache_write_long: hour, ..rates(input, input / 10.0, output) }
}

fn above(base: Rates, above: u64, long: Rates) -> ServiceRates {
    ServiceRates { base, long_prompts: vec![LongPromptRates { above, rates: long }] }
}

/// GPT-5.4: input and output from <https://developers.openai.com/docs/models>; the rest as
/// <https://developers.openai.com/api/docs/pricing> is quoted by tokenmix.ai on 2026-06-04 (cached input, batch and flex at
/// half, priority) and wavespeed.ai (input and output above 272K tokens).
fn gpt_5_4() -> Price {
    // The price of cached input of long prompts is not quoted; it is not asked for here.
    let standard = above(rates(2.5, 0.25, 15.0), 272_000, rates(5.0, 5.0, 22.5));
    Price {
        standard,
        batch: Some(rates(1.25, 0.125, 7.5).into()),
        flex: Some(rates(1.25, 0.125, 7.5).into()),
        priority: Some(rates(5.0, 0.5, 30.0).into()),
        as_of: "2026-06-04".to_owned(),
        ..Price::default()
    }
}

/// GPT-5.5, from <https://developers.openai.com/docs/models>.
fn gpt_5_5() -> Price {
    Price::flat(rates(5.0, 0.5, 30.0), "2026-06-04")
}

/// From <https://developers.openai.com/api/docs/models/gpt-4o-audio-preview.md>.
fn gpt_4o_audio() -> Price {
    let audio = Rates {
        audio_input: Some(dollars(40.0)),
        audio_output: Some(dollars(80.0)),
        ..rates(2.5, 2.5, 10.0)
    };
    Price::flat(audio, "2026-06-04")
}

/// Claude Sonnet 4, from <https://docs.anthropic.com/en/docs/about-claude/pricing> as of September 2025: all rates, those
/// above 200K tokens, the batch discount of 50 %, and $10 for 1,000 searches.
fn claude_sonnet_4() -> Price {
    Price {
        standard: above(anthropic(3.0, 15.0), 200_000, anthropic(6.0, 22.5)),
        batch: Some(anthropic(1.5, 7.5).into()),
        web_search_fee: Some(Usd::from_picodollars(10_000_000_000)),
        as_of: "2025-09-30".to_owned(),
        ..Price::default()
    }
}

/// Claude Opus 4.1, from the same page.
fn claude_opus_4_1() -> Price {
    let batch = Some(anthropic(7.5, 37.5).into());
    Price { batch, ..Price::flat(anthropic(15.0, 75.0), "2025-09-30") }
}

/// Claude Haiku 3.5, from the same page.
fn claude_haiku_3_5() -> Price {
    Price::flat(anthropic(0.8, 4.0), "2025-09-30")
}

#[track_caller]
fn check(format: Format, price: &Price, usage: &str, expected: Result<i64, Unpriced>) {
    let body = match format {
        Format::AnthropicMessages => {
            format!(
                r#"{{"type":"message","stop_reason":"end_turn","content":[{{"type":"text","text":"a"}}],"usage":{usage}}}"#
            )
        }
        _ => {
            // The service tier stands beside the counts.
            let (tier, usage) = usage.split_once(' ').unwrap_or(("null", usage));
            format!(
                r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"stop"}}],"service_tier":{tier},"usage":{usage}}}"#
            )
        }
    };
    let usage = format.read_outcome(body.as_bytes()).unwrap().usage.unwrap();
    assert_eq!(price.cost(usage), expected.map(Usd::from_picodollars), "{body}");
}

#[test]
fn openais_answers_cost_what_its_price_list_says() {
    let check = |price: &Price, usage: &str, expected| check(Format::OpenAiChat, price, usage, expected);
    let (main, large, audio) = (gpt_5_4(), gpt_5_5(), gpt_4o_audio());
    // Plain: 1,200 × 2.50 + 350 × 15.
    check(
        &main,
        r#"{"prompt_tokens":1200,"completion_tokens":350,"total_tokens":1550,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
        Ok(8_250_000_000),
    );
    // Cached: 86 × 2.50 + 1,920 × 0.25 + 300 × 15.
    check(
        &main,
        r#""default" {"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920},"completion_tokens_details":{"reasoning_tokens":0}}"#,
        Ok(5_195_000_000),
    );
    // Reasoning is output: 75 × 2.50 + 1,186 × 15.
    check(
        &main,
        r#"{"prompt_tokens":75,"completion_tokens":1186,"total_tokens":1261,"completion_tokens_details":{"reasoning_tokens":1024}}"#,
        Ok(17_977_500_000),
    );
    // A long prompt: 300,000 × 5 + 1,000 × 22.50.
    check(
        &main,
        r#"{"prompt_tokens":300000,"completion_tokens":1000,"total_tokens":301000}"#,
        Ok(1_522_500_000_000),
    );
    // The longest that is not long: 272,000 × 2.50 + 10 × 15.
    check(
        &main,
        r#"{"prompt_tokens":272000,"completion_tokens":10,"total_tokens":272010}"#,
        Ok(680_150_000_000),
    );
    // A batch: 10,000 × 1.25 + 800 × 7.50.
    check(
        &main,
        r#""batch" {"prompt_tokens":10000,"completion_tokens":800,"total_tokens":10800}"#,
        Ok(18_500_000_000),
    );
    // Flex, cached: 904 × 1.25 + 4,096 × 0.125 + 1,000 × 7.50.
    check(
        &main,
        r#""flex" {"prompt_tokens":5000,"completion_tokens":1000,"total_tokens":6000,"prompt_tokens_details":{"cached_tokens":4096}}"#,
        Ok(9_142_000_000),
    );
    // Priority, cached: 476 × 5 + 1,024 × 0.50 + 200 × 30.
    check(
        &main,
        r#""priority" {"prompt_tokens":1500,"completion_tokens":200,"total_tokens":1700,"prompt_tokens_details":{"cached_tokens":1024}}"#,
        Ok(8_892_000_000),
    );
    // Audio both ways: 20 × 2.50 + 60 × 40 + 30 × 10 + 110 × 80.
    check(
        &audio,
        r#"{"prompt_tokens":80,"completion_tokens":140,"total_tokens":220,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":60,"text_tokens":20},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":110,"text_tokens":30}}"#,
        Ok(11_550_000_000),
    );
    // Predictions, those that were rejected included, are output: 1,117 × 5 + 46 × 30.
    check(
        &large,
        r#"{"prompt_tokens":1117,"completion_tokens":46,"total_tokens":1163,"completion_tokens_details":{"reasoning_tokens":39,"accepted_prediction_tokens":5,"rejected_prediction_tokens":2}}"#,
        Ok(6_965_000_000),
    );
    // What these prices do not state.
    check(
        &large,
        r#"{"prompt_tokens":2000,"completion_tokens":9,"total_tokens":2009,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":1792}}"#,
        Err(Unpriced::CacheWrite),
    );
    check(
        &large,
        r#""flex" {"prompt_tokens":20,"completion_tokens":9,"total_tokens":29}"#,
        Err(Unpriced::Flex),
    );
    check(
        &main,
        r#"{"prompt_tokens":80,"completion_tokens":9,"total_tokens":89,"prompt_tokens_details":{"audio_tokens":60}}"#,
        Err(Unpriced::AudioInput),
    );
}

#[test]
fn anthropics_answers_cost_what_its_price_list_says() {
    let check =
        |price: &Price, usage: &str, expected| check(Format::AnthropicMessages, price, usage, expected);
    let (sonnet, opus, haiku) = (claude_sonnet_4(), claude_opus_4_1(), claude_haiku_3_5());
    // Plain: 2,095 × 3 + 503 × 15.
    check(
        &sonnet,
        r#"{"input_tokens":2095,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":503,"service_tier":"standard"}"#,
        Ok(13_830_000_000),
    );
    // Read from the cache: 50 × 3 + 100,000 × 0.30 + 503 × 15.
    check(
        &sonnet,
        r#"{"input_tokens":50,"cache_creation_input_tokens":0,"cache_read_input_tokens":100000,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":503}"#,
        Ok(37_695_000_000),
    );
    // Written for five minutes: 21 × 3 + 188,086 × 3.75 + 393 × 15.
    check(
        &sonnet,
        r#"{"input_tokens":21,"cache_creation_input_tokens":188086,"cache_read_input_tokens":0,"output_tokens":393}"#,
        Ok(711_280_500_000),
    );
    // Written for both times, and read: 10 × 3 + 148 × 3.75 + 100 × 6 + 1,800 × 0.30 + 503 × 15.
    check(
        &sonnet,
        r#"{"input_tokens":10,"cache_creation_input_tokens":248,"cache_read_input_tokens":1800,"cache_creation":{"ephemeral_5m_input_tokens":148,"ephemeral_1h_input_tokens":100},"output_tokens":503}"#,
        Ok(9_270_000_000),
    );
    // A long prompt: 250,000 × 6 + 2,000 × 22.50.
    check(&sonnet, r#"{"input_tokens":250000,"output_tokens":2000}"#, Ok(1_545_000_000_000));
    // Long by what the cache holds: 1,000 × 6 + 200,000 × 0.60 + 100 × 22.50.
    check(
        &sonnet,
        r#"{"input_tokens":1000,"cache_read_input_tokens":200000,"output_tokens":100}"#,
        Ok(128_250_000_000),
    );
    // A batch: 4,000 × 1.50 + 1,000 × 7.50.
    check(
        &sonnet,
        r#"{"input_tokens":4000,"output_tokens":1000,"service_tier":"batch"}"#,
        Ok(13_500_000_000),
    );
    // A batch that writes: 100 × 7.50 + 2,000 × 9.375 + 500 × 37.50.
    check(
        &opus,
        r#"{"input_tokens":100,"cache_creation_input_tokens":2000,"output_tokens":500,"service_tier":"batch"}"#,
        Ok(38_250_000_000),
    );
    // A search: 105 × 3 + 7,345 × 3.75 + 7,123 × 0.30 + 6,039 × 15, and a cent.
    check(
        &sonnet,
        r#"{"input_tokens":105,"output_tokens":6039,"cache_read_input_tokens":7123,"cache_creation_input_tokens":7345,"server_tool_use":{"web_search_requests":1}}"#,
        Ok(130_580_650_000),
    );
    // 333 × 0.80 + 1,221 × 4.
    check(&haiku, r#"{"input_tokens":333,"output_tokens":1221}"#, Ok(5_150_400_000));
    // What these prices do not state.
    check(
        &sonnet,
        r#"{"input_tokens":9,"output_tokens":2,"service_tier":"priority"}"#,
        Err(Unpriced::Priority),
    );
    check(
        &haiku,
        r#"{"input_tokens":9,"output_tokens":2,"server_tool_use":{"web_search_requests":1}}"#,
        Err(Unpriced::WebSearch),
    );
    check(
        &haiku,
        r#"{"input_tokens":9,"cache_creation_input_tokens":"some","output_tokens":2}"#,
        Err(Unpriced::CountsContradict),
    );
}
