//! What only makes sense over several settings of one task.

use bantam_types::TaskKind;

use super::{Draft, Surroundings};
use crate::MistakeKind;
use crate::ladder::Rung;
use crate::log::{Log, Problem};
use crate::origin::Place;

/// Checks the settings of one task against each other.
pub(super) fn run(draft: &Draft, around: Surroundings<'_>, log: &Log<'_>) {
    check_answers(draft, log);
    check_student(draft, log);
    check_embed(draft, log);
    check_student_model(draft, around, log);
    check_ladder(draft, around, log);
    check_reach(draft, around, log);
}

/// Labels and what belongs to them are for classification, and one is needed from somewhere.
fn check_answers(draft: &Draft, log: &Log<'_>) {
    let Some(kind) = &draft.kind else { return };
    if kind.value == TaskKind::Classify {
        let needs = |message: &str| {
            Problem::new(message)
                .hint("list at least two in `labels`, or name a `student` that brings its own")
        };
        match &draft.labels {
            None if draft.student.is_none() => {
                log.problem(MistakeKind::Missing, &draft.own, needs("classifies, but has no labels"));
            }
            Some(labels) if labels.value.len() < 2 => {
                log.problem(MistakeKind::BadValue, &labels.spot, needs("leaves no choice"));
            }
            _ => {}
        }
        return;
    }
    let refuse = |spot| {
        let problem = Problem::new(format!("is for `classify` tasks; this one is `{}`", kind.value));
        log.problem(MistakeKind::Conflict, spot, problem.hint("remove it, or change `kind`"));
    };
    let texts = [&draft.answer_key, &draft.out_of_scope_label].into_iter().flatten().map(|found| &found.spot);
    draft.labels.iter().map(|found| &found.spot).chain(texts).for_each(refuse);
}

/// A student, and the switches that make sense only with one.
fn check_student(draft: &Draft, log: &Log<'_>) {
    if let Some(threshold) = &draft.threshold
        && !draft.allow_uncertified.value
    {
        let problem = Problem::new("does nothing without allow_uncertified = true")
            .hint("set that too, or remove this; a certified student's threshold is in its certificate");
        log.problem(MistakeKind::Conflict, &threshold.spot, problem);
    }
    if draft.student.is_some() || draft.student_model.is_some() {
        let is_asked = draft.ladder.value.iter().any(|rung| rung.value == Rung::Student);
        if !is_asked {
            let problem = Problem::new("has a student that its ladder never asks")
                .hint("put \"student\" first in `ladder`, or leave `ladder` out");
            log.warn(MistakeKind::Conflict, &draft.own, problem);
        } else if draft.certificate.is_none()
            && draft.certificate_spot.is_none()
            && !draft.allow_uncertified.value
        {
            let problem = Problem::new("has a student without a certificate: it never answers alone")
                .hint("certify it, or set allow_uncertified = true");
            log.warn(MistakeKind::Missing, &draft.own, problem);
        }
        return;
    }
    let without = |spot| {
        let problem =
            Problem::new("does nothing without a student").hint("name one in `student`, or remove this");
        log.problem(MistakeKind::Conflict, spot, problem);
    };
    draft.base.iter().map(|base| &base.spot).chain(&draft.certificate_spot).for_each(without);
    if draft.allow_uncertified.value {
        without(&draft.allow_uncertified.spot);
    }
    for rung in draft.ladder.value.iter().filter(|rung| rung.value == Rung::Student) {
        let problem =
            Problem::new("names `student`, but the task has none").hint("name its file in `student`");
        log.problem(MistakeKind::Unreachable, &rung.spot, problem);
    }
}

/// No student embeds. Which kind of student writes is known once it is read.
fn check_embed(draft: &Draft, log: &Log<'_>) {
    let (Some(student), Some(kind)) = (&draft.student, &draft.kind) else { return };
    if kind.value == TaskKind::Embed {
        let problem = Problem::new("names a student, and students do not embed; this task is `embed`")
            .hint("remove it, or change `kind`");
        log.problem(MistakeKind::Conflict, &student.spot, problem);
    }
}

/// A student that is a language model runs in this process, and answers in a form that is given.
fn check_student_model(draft: &Draft, around: Surroundings<'_>, log: &Log<'_>) {
    let Some(model) = &draft.student_model else {
        let tokens = draft.answer_tokens_max.iter().map(|tokens| &tokens.spot);
        let tokens = tokens.chain(draft.samples.iter().map(|samples| &samples.spot));
        // A student that is trained for the task learns to answer by a schema.
        let is_for_training = |name: &str| name == "schema" && draft.student.is_some();
        let forms = draft.forms.given().into_iter().filter(|(name, _)| !is_for_training(name));
        for spot in forms.map(|(_, spot)| spot).chain(tokens) {
            let problem = Problem::new("does nothing without a language model as student")
                .hint("name one in `student_model`, or remove this");
            log.problem(MistakeKind::Conflict, spot, problem);
        }
        return;
    };
    if draft.student.is_some() {
        let problem = Problem::new("names a second student").hint("keep `student` or `student_model`");
        log.problem(MistakeKind::Conflict, &model.spot, problem);
    }
    if let Err(problem) = around.models.check_name(&model.value) {
        log.problem(MistakeKind::Unreachable, &model.spot, problem);
    } else if around.models.good.get(&model.value).is_some_and(|model| model.source.is_upstream()) {
        let problem = Problem::new("names a model of an upstream, which tells nothing of how sure it is")
            .hint("name one that runs in this process (`file` or `store` in its section), or put it into `ladder`");
        log.problem(MistakeKind::Conflict, &model.spot, problem);
    }
    check_form(draft, log);
}

/// What the answers keep to is said once, and not by a classification, whose labels say it.
fn check_form(draft: &Draft, log: &Log<'_>) {
    let forms = draft.forms.given();
    let kind = draft.kind.as_ref().map(|kind| kind.value);
    match &forms[..] {
        [] if kind == Some(TaskKind::Extract) => {
            let problem = Problem::new("extracts with a language model, but has no schema, regex or grammar")
                .hint("name the file of a JSON schema in `schema`");
            log.problem(MistakeKind::Missing, &draft.own, problem);
        }
        [..] if kind == Some(TaskKind::Classify) => {
            for (_, spot) in forms {
                let problem = Problem::new("classifies, and its answers are its labels");
                log.problem(MistakeKind::Conflict, spot, problem.hint("remove it, or change `kind`"));
            }
        }
        [(first, _), rest @ ..] => {
            for (name, spot) in rest {
                let problem = Problem::new(format!("says anew what answers look like, beside `{first}`"))
                    .hint(format!("keep `{first}` or `{name}`"));
                log.problem(MistakeKind::Conflict, spot, problem);
            }
        }
        [] => {}
    }
}

/// Somebody has to answer, and what a higher rung is needed for needs one.
fn check_ladder(draft: &Draft, around: Surroundings<'_>, log: &Log<'_>) {
    let is_explicit = draft.ladder.spot.place != Place::Default;
    if draft.ladder.value.is_empty() && (is_explicit || around.routing_is_whole) {
        let (kind, spot) = if is_explicit {
            (MistakeKind::BadValue, &draft.ladder.spot)
        } else {
            (MistakeKind::Missing, &draft.own)
        };
        let problem = Problem::new("has nobody to ask")
            .hint("name models in `ladder` (or in `routing.ladder`), or a file in `student`");
        return log.problem(kind, spot, problem);
    }
    if draft.ladder.value.iter().any(|rung| rung.value != Rung::Student) || !around.routing_is_whole {
        if draft.audit_share.value > 0.0 && draft.student.is_none() {
            let problem = Problem::new("audits a student's answers, but the task has none")
                .hint("name one in `student`, or remove this");
            log.problem(MistakeKind::Conflict, &draft.audit_share.spot, problem);
        }
        return;
    }
    let needs_teacher = |spot| {
        let problem = Problem::new("needs a model above the student").hint("add one to the task's `ladder`");
        log.problem(MistakeKind::Conflict, spot, problem);
    };
    if draft.record.value {
        needs_teacher(&draft.record.spot);
    }
    if draft.audit_share.value > 0.0 {
        needs_teacher(&draft.audit_share.spot);
    }
}

/// A task whose least label no rung may see would refuse every request.
fn check_reach(draft: &Draft, around: Surroundings<'_>, log: &Log<'_>) {
    let label = draft.minimum_label.value;
    let tiers: Option<Vec<_>> =
        draft.ladder.value.iter().map(|rung| rung.value.tier(around.models)).collect();
    let Some(tiers) = tiers.filter(|tiers| !tiers.is_empty()) else { return };
    let barred = tiers.iter().filter(|tier| around.privacy.highest(**tier) < label).count();
    let hint = "lower it, raise [privacy], or add a local rung";
    if barred == tiers.len() {
        let problem = Problem::new(format!("is `{label}`, which no rung of the task may see")).hint(hint);
        log.problem(MistakeKind::Conflict, &draft.minimum_label.spot, problem);
    } else if barred > 0 {
        let rungs = if barred == 1 { "1 rung".to_owned() } else { format!("{barred} rungs") };
        let problem =
            Problem::new(format!("is `{label}`, so that {rungs} of the ladder never sees a request"));
        log.warn(MistakeKind::Conflict, &draft.minimum_label.spot, problem.hint(hint));
    }
}
