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
