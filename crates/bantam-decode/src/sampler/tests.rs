use proptest::prelude::*;

use super::*;

fn config(change: impl FnOnce(&mut SamplingConfig)) -> SamplingConfig {
    let mut config = SamplingConfig { temperature: 1.0, ..SamplingConfig::greedy() };
    change(&mut config);
    config
}

fn sampler(change: impl FnOnce(&mut SamplingConfig)) -> Sampler {
    Sampler::new(config(change), &[]).unwrap()
}

/// Returns how often each token was drawn.
fn counts(sampler: &mut Sampler, logits: &[f32], draws: u32) -> Vec<u32> {
    let mut counts = vec![0; logits.len()];
    for _ in 0..draws {
        counts[sampler.choose(logits, None).unwrap().chosen.token as usize] += 1;
    }
    counts
}

fn greedy(change: impl FnOnce(&mut SamplingConfig), prompt: &[u32], answer: &[u32], logits: &[f32]) -> u32 {
    let mut config = SamplingConfig::greedy();
    change(&mut config);
    let mut sampler = Sampler::new(config, prompt).unwrap();
    for token in answer {
        sampler.record(*token);
    }
    sampler.choose(logits, None).unwrap().chosen.token
}

#[test]
fn temperature_zero_takes_the_first_largest_logit() {
    assert_eq!(greedy(|_| (), &[], &[], &[1.0, 3.0, 2.0, 3.0]), 1);
    let mask = TokenMask::of(4, &[0, 2]);
    let mut sampler = Sampler::new(SamplingConfig::greedy(), &[]).unwrap();
    assert_eq!(sampler.choose(&[1.0, 3.0, 2.0, 3.0], Some(&mask)).unwrap().chosen.token, 2);
}

#[test]
fn draws_follow_the_probabilities() {
    let logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln() + 7.0).collect();
    let found = counts(&mut sampler(|_| ()), &logits, 20_000);
    for (count, expected) in found.iter().zip([10_000, 6_000, 3_000, 1_000]) {
        assert!(count.abs_diff(expected) < 300, "{found:?}");
    }
    let hot = counts(&mut sampler(|config| config.temperature = 100.0), &logits, 20_000);
    assert!(hot.iter().all(|count| count.abs_diff(5_000) < 300), "{hot:?}");
}

#[test]
fn filters_keep_the_documented_tokens() {
    let logits: Vec<f32> = [0.1f32, 0.4, 0.2, 0.3].iter().map(|p| p.ln()).collect();
    let kept = |change: fn(&mut SamplingConfig)| {
        let found = counts(&mut sampler(change), &logits, 2_000);
        found.iter().map(|count| *count > 0).collect::<Vec<_>>()
    };
    assert_eq!(kept(|config| config.top_k = 2), [false, true, false, true]);
    assert_eq!(kept(|config| config.top_p = 0.65), [false, true, false, true]);
    assert_eq!(kept(|config| config.top_p = 0.75), [false, true, true, true]);
    assert_eq!(kept(|config| config.min_p = 0.6), [false, true, false, true]);
    assert_eq!(kept(|config| config.top_p = 1e-9), [false, true, false, false]);
    // Of the three that top_k leaves, 0.4 / 0.9 and 0.3 / 0.9 reach 0.75.
    let both = |config: &mut SamplingConfig| (config.top_k, config.top_p) = (3, 0.75);
    assert_eq!(kept(both), [false, true, false, true]);
}

#[test]
fn penalties_and_biases_change_the_choice() {
    let logits = [2.0, 1.9, -1.0];
    assert_eq!(greedy(|config| config.repetition_penalty = 1.2, &[0], &[], &logits), 1);
    assert_eq!(
        greedy(|config| config.repetition_penalty = 1.2, &[0], &[0, 0], &[2.0, 1.6, -1.0]),
        0,
        "counted once"
    );
    assert_eq!(greedy(|config| config.repetition_penalty = 3.0, &[], &[0], &[-1.0, -2.0]), 1);
    assert_eq!(
        greedy(|config| config.presence_penalty = 0.2, &[0], &[], &logits),
        0,
        "the prompt does not count"
    );
    assert_eq!(greedy(|config| config.presence_penalty = 0.2, &[], &[0, 0], &logits), 1);
    assert_eq!(greedy(|config| config.frequency_penalty = 0.06, &[], &[0], &logits), 0);
    assert_eq!(greedy(|config| config.frequency_penalty = 0.06, &[], &[0, 0], &logits), 1);
    assert_eq!(greedy(|config| config.logit_bias = [(2, 4.0)].into(), &[], &[], &logits), 2);
    assert_eq!(greedy(|config| config.logit_bias = [(0, f32::NEG_INFINITY)].into(), &[], &[], &logits), 1);
}

#[test]
fn reported_probabilities_are_the_models_own() {
    let logits: Vec<f32> = [0.5f32, 0.3, 0.2].iter().map(|p| p.ln() - 40.0).collect();
    let mut sampler = Sampler::new(
        SamplingConfig {
            logit_bias: [(2, 9.0), (0, f32::NEG_INFINITY)].into(),
            alternatives: 2,
            ..config(|config| config.temperature = 0.0)
        },
        &[],
    )
    .unwrap();
    let sampled = sampler.choose(&logits, Some(&TokenMask::of(3, &[0, 2]))).unwrap();
    assert_eq!(sampled.chosen.token, 2);
    assert!((sampled.chosen.log_probability - 0.2f32.ln()).abs() < 1e-5);
    let reported: Vec<u32> = sampled.alternatives.iter().map(|one| one.token).collect();
    assert_eq!(reported, [0, 1]);
    assert!((sampled.alternatives[0].log_probability - 0.5f32.ln()).abs() < 1e-5);
}

#[test]
fn invalid_parameters_and_rows_get_their_own_errors() {
    let refused =
        |change: fn(&mut SamplingConfig)| Sampler::new(config(change), &[]).unwrap_err().to_string();
    assert_eq!(refused(|config| config.temperature = -1.0), "temperature is -1; the range is 0 to 100");
    assert_eq!(refused(|config| config.temperature = f32::NAN), "temperature is NaN; the range is 0 to 100");
    assert_eq!(refused(|config| config.top_p = 0.0), "top_p is 0; the range is above 0 to 1");
    assert!(refused(|config| config.temperature = 1e-9).contains("use 0 for the most probable token"));
    assert!(refused(|config| config.logit_bias = [(7, f32::INFINITY)].into()).contains("token 7 is inf"));
    assert!(refused(|config| config.alternatives = 65).contains("at most 64"));
    let mut forbidding = sampler(|config| config.logit_bias = [(1, f32::NEG_INFINITY)].into());
    let only = TokenMask::of(2, &[1]);
    assert_eq!(forbidding.choose(&[0.0, 0.0], Some(&only)), Err(SampleError::NothingLeft));
    assert_eq!(forbidding.choose(&[0.0], None), Err(SampleError::UnknownToken { token: 1, vocabulary: 1 }));
    assert!(matches!(
        forbidding.choose(&[f32::NAN, 0.0], None),
        Err(SampleError::Row(RowError::NotFinite(0)))
    ));
}

#[test]
fn a_seed_always_draws_the_same_pinned_text() {
    let mut random = Random::new(3);
    let rows: Vec<Vec<f32>> =
        (0..12).map(|_| (0..500).map(|_| (random.unit() * 8.0) as f32).collect()).collect();
    let text = |seed| {
        let mut sampler = sampler(|config| (config.seed, config.top_k, config.top_p) = (seed, 50, 0.9));
        rows.iter().map(|row| sampler.choose(row, None).unwrap().chosen.token).collect::<Vec<_>>()
    };
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
    assert_eq!(text(42), PINNED);
}

/// The tokens that seed 42 draws. They must not change between platforms or versions.
const PINNED: [u32; 12] = [402, 387, 402, 118, 49, 389, 173, 373, 408, 341, 321, 259];

proptest! {
    #[test]
    fn selection_keeps_the_same_as_a_full_sort(
        logits in prop::collection::vec((-40i8..40).prop_map(f32::from), 1..600),
        top_k in 1usize..300,
    ) {
        let all = logits.iter().zip(0..).map(|(logit, token)| Candidate { logit: *logit, token });
        let mut sorted: Vec<_> = all.collect();
        filter::sort(&mut sorted);
        sorted.truncate(top_k);
        let mut selected = Vec::new();
        let all = 0..logits.len();
        filter::gather(&mut selected, &logits, &[all], top_k, Some);
        filter::sort(&mut selected);
        prop_assert_eq!(selected, sorted);
    }

    #[test]
    fn nothing_outside_the_mask_is_ever_drawn(
        logits in prop::collection::vec(-9.0f32..9.0, 70),
        allowed in prop::collection::btree_set(0u32..70, 1..9),
        seed: u64,
        top_p in 0.01f32..1.0,
    ) {
        let allowed: Vec<u32> = allowed.into_iter().collect();
        let mask = TokenMask::of(70, &allowed);
        let mut sampler = sampler(|config| (config.seed, config.top_p) = (seed, top_p));
        for _ in 0..20 {
            prop_assert!(allowed.contains(&sampler.choose(&logits, Some(&mask)).unwrap().chosen.token));
        }
    }

    #[test]
    fn the_choice_matches_checking_each_token_separately(
        seed: u64,
        (words, vocabulary) in (1usize..9).prop_flat_map(|words| (Just(words), 32 * words - 31..=32 * words + 5)),
        kind in 0..5,
        temperature in prop_oneof![Just(0.0f32), Just(1.0), 0.01f32..3.0],
        (top_k, top_p) in (prop_oneof![Just(0usize), 1usize..40], prop_oneof![Just(1.0f32), 0.05f32..1.0]),
        min_p in prop_oneof![Just(0.0f32), 0.0f32..0.5],
        (bias, penalty) in (prop_oneof![Just(0.0f32), Just(f32::NEG_INFINITY), -3.0f32..3.0], 0.9f32..1.1),
    ) {
        let mut random = Random::new(seed);
        let mut config = config(|config| (config.top_k, config.top_p, config.min_p) = (top_k, top_p, min_p));
        (config.temperature, config.seed, config.repetition_penalty) = (temperature, seed, penalty);
        if bias != 0.0 {
            config.logit_bias = [(random.bits() as u32 % vocabulary as u32, bias)].into();
        }
        let mut sampler = Sampler::new(config.clone(), &[0]).unwrap();
        let mut plain = Sampler::new(config, &[0]).unwrap();
        for _ in 0..12 {
            let logits = row(&mut random, vocabulary);
            let mask = mask(&mut random, kind, 32 * words);
            let found = sampler.choose(&logits, mask.as_ref()).ok().map(|sampled| sampled.chosen);
            let token = found.map(|chosen| chosen.token);
            prop_assert_eq!(token, one_by_one(&mut plain, &logits, mask.as_ref()));
            if let Some(chosen) = found {
                let expected = log_sum(&logits).unwrap().log_probability(logits[chosen.token as usize]);
                prop_assert_eq!(chosen.log_probability.to_bits(), (expected as f32).to_bits());
                sampler.record(chosen.token);
                plain.record(chosen.token);
            }
        }
    }
}

/// Logits with ties, some minus infinities, and one outlier.
fn row(random: &mut Random, vocabulary: usize) -> Vec<f32> {
    let mut logits: Vec<f32> = (0..vocabulary)
        .map(|_| match random.bits() % 20 {
            0 => f32::NEG_INFINITY,
            1..4 => 2.0,
            _ => (random.unit() * 12.0 - 6.0) as f32,
        })
        .collect();
    logits[random.bits() as usize % vocabulary] = 6.5;
    logits
}

/// No mask, all tokens, nearly all of them, few, or every other one.
fn mask(random: &mut Random, kind: i32, vocabulary: usize) -> Option<TokenMask> {
    let mut is_in = |token: u32| match kind {
        1 => true,
        2 => !random.bits().is_multiple_of(30),
        3 => random.bits().is_multiple_of(30) || token == 0,
        _ => token.is_multiple_of(2),
    };
    let tokens: Vec<u32> = (0..vocabulary as u32).filter(|token| kind != 0 && is_in(*token)).collect();
    (kind != 0).then(|| TokenMask::of(vocabulary, &tokens))
}

/// Chooses by the definition: checks each token separately and makes it a candidate.
fn one_by_one(sampler: &mut Sampler, logits: &[f32], mask: Option<&TokenMask>) -> Option<u32> {
    let logits = if sampler.adjust(logits).unwrap() { sampler.scratch.clone() } else { logits.to_vec() };
    let allowed = logits
        .iter()
        .zip(0..)
        .filter(|(logit, token)| mask.is_none_or(|mask| mask.allows(*token)) && **logit > f32::NEG_INFINITY);
    let config = &sampler.config;
    if config.temperature == 0.0 {
        return allowed
            .fold(None, |best: Option<(f32, u32)>, (logit, token)| {
                best.filter(|best| best.0 >= *logit).or(Some((*logit, token)))
            })
            .map(|best| best.1);
    }
    let quotient = |(logit, token): (&f32, u32)| Candidate { logit: logit / config.temperature, token };
    let mut candidates: Vec<Candidate> = allowed.map(quotient).collect();
    if config.top_k > 0 {
        filter::sort(&mut candidates);
        candidates.truncate(config.top_k);
    }
    let unit = sampler.random.unit();
    filter::draw(&mut candidates, config.top_p, config.min_p, unit)
}
