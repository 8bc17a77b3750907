//! What a training came to, in words.

use super::{ClassifierTrainReport, DecoderTrainReport, TaggerTrainReport, TrainReport};

impl TrainReport {
    /// Returns what was measured, in a few lines.
    pub fn summary(&self) -> Vec<String> {
        match self {
            Self::Classifier(report) => classifier(report),
            Self::Tagger(report) => tagger(report),
            Self::Decoder(report) => decoder(report),
        }
    }
}

fn classifier(report: &ClassifierTrainReport) -> Vec<String> {
    vec![
        format!(
            "trained on {} rows, {} labels, {} features in {:.1} s",
            report.rows, report.labels, report.features, report.seconds
        ),
        format!(
            "cross-validated accuracy {:.2} %, calibration error {:.2} %, accepted at 2 % error {:.1} %",
            100.0 * report.held_out_accuracy,
            100.0 * report.held_out_calibration_error,
            100.0 * report.held_out_accepted_at_2_percent_error
        ),
    ]
}

fn tagger(report: &TaggerTrainReport) -> Vec<String> {
    let mut lines = vec![format!(
        "trained on {} rows, {} slots, {} values in {:.1} s",
        report.rows,
        report.slots.len(),
        report.values,
        report.seconds
    )];
    if report.reads_context {
        lines.push("it reads the rows' context: in the gateway, what the assistant said last".to_owned());
    }
    lines.push(format!(
        "on {} held-out rows F1 {:.2} %, precision {:.2} %, recall {:.2} %",
        report.held_out_rows,
        100.0 * report.held_out_f1,
        100.0 * report.held_out_precision,
        100.0 * report.held_out_recall
    ));
    if let (Some(exact), Some(auc), Some(accepted)) =
        (report.held_out_exact, report.held_out_auc, report.held_out_accepted_at_2_percent_error)
    {
        lines.push(format!(
            "whole answers right {:.2} %, confidence ranks them with AUC {auc:.3}, accepted at 2 % error {:.1} %",
            100.0 * exact,
            100.0 * accepted
        ));
    }
    lines
}

fn decoder(report: &DecoderTrainReport) -> Vec<String> {
    let measured = &report.measured;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut lines = vec![format!(
        "trained {} parameters on {} rows, {} steps in {:.1} s, {:.0} tokens/s",
        measured.parameters, measured.rows, measured.steps, report.seconds, report.tokens_per_second
    )];
    let loss = measured.held_out_loss.map_or_else(|| "none".to_owned(), |loss| format!("{loss:.3}"));
    lines.push(format!("on {} rows held out: loss {loss}", measured.held_out_rows));
    if let (Some(exact), Some(accepted)) = (measured.exact_match, measured.accepted_at_2_percent_error) {
        lines.push(format!(
            "as served, {} of {} answered exactly, {} accepted at 2 % error",
            percent(exact),
            measured.asked_rows,
            percent(accepted)
        ));
        lines.extend(ranking(report));
    }
    lines.push(format!(
        "replayed through the engine: {} tokens, logits within {:.0e} of the largest",
        measured.replayed_tokens, measured.replay_difference
    ));
    lines
}

/// How well each way of telling how sure an answer is ranks those of the rows held out, and which one is served.
fn ranking(report: &DecoderTrainReport) -> Option<String> {
    let by_tokens = report.measured.confidence_auc?;
    let mut line = format!("right answers are surer than wrong ones (AUC) {by_tokens:.3} by their tokens");
    let further = [
        (report.measured.sampled_auc, "with answers drawn", report.draws_samples),
        (report.measured.verified_auc, "by a verifier", report.has_verifier),
    ];
    for (auc, how, is_kept) in further {
        if let Some(auc) = auc {
            let kept = if is_kept { ", kept" } else { "" };
            line.push_str(&format!("; {auc:.3} {how}{kept}"));
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use bantam_local::DecoderReport;

    use super::*;

    #[test]
    fn a_decoder_s_summary_says_which_confidence_is_served() {
        let measured = DecoderReport {
            rows: 216,
            parameters: 100_000,
            steps: 40,
            held_out_rows: 24,
            asked_rows: 24,
            exact_match: Some(0.75),
            accepted_at_2_percent_error: Some(0.5),
            confidence_auc: Some(0.875),
            verified_auc: Some(0.9),
            ..DecoderReport::default()
        };
        let report = TrainReport::Decoder(DecoderTrainReport {
            measured,
            student: "order.student".into(),
            sha256: "ab".to_owned(),
            seconds: 0.5,
            tokens_per_second: 1000.0,
            draws_samples: false,
            has_verifier: true,
        });
        let lines = report.summary();
        assert_eq!(lines[0], "trained 100000 parameters on 216 rows, 40 steps in 0.5 s, 1000 tokens/s");
        assert_eq!(lines[1], "on 24 rows held out: loss none");
        assert_eq!(lines[2], "as served, 75.0 % of 24 answered exactly, 50.0 % accepted at 2 % error");
        assert_eq!(
            lines[3],
            "right answers are surer than wrong ones (AUC) 0.875 by their tokens; 0.900 by a verifier, kept"
        );
    }
}
