//! `[tasks.NAME]`: the narrow jobs, their students, and when a student may answer alone.

mod checks;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bantam_types::{Label, TaskKind, TaskName, Template};

use crate::MistakeKind;
use crate::context::Context;
use crate::ladder::{self, Rung};
use crate::log::Problem;
use crate::model::Models;
use crate::origin::{Found, Place, Spot};
use crate::privacy::{self, Privacy};
use crate::routing::Routing;
use crate::section::Section;
use crate::server::values;
use crate::value;

const KINDS: &[&str] = &["classify", "extract", "rewrite", "summarize", "generate", "embed"];

/// The threshold of an uncertified student that may answer alone.
const UNCERTIFIED_THRESHOLD: f64 = 0.95;

/// The most bytes of a regular expression: what constrained decoding takes.
const REGEX_BYTES: usize = 4 * 1024;

/// The most tokens of an answer where nothing is said.
const ANSWER_TOKENS: usize = 512;

/// A language model that is a task's student.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudentModel {
    /// Its name in `[models]`; always one that runs in this process.
    pub model: String,
    /// The file of the JSON schema of all answers. At most one of `schema`, `regex` and `grammar` is there.
    pub schema: Option<PathBuf>,
    /// The regular expression that all answers match.
    pub regex: Option<String>,
    /// The file of the Lark grammar of all answers.
    pub grammar: Option<PathBuf>,
    /// The most tokens of an answer.
    pub answer_tokens_max: usize,
    /// Further answers that are drawn to tell how sure one is.
    pub samples: usize,
    /// Where its certificate is, or will be.
    pub certificate: PathBuf,
}

/// One task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// What kind of answer it wants.
    pub kind: TaskKind,
    /// The answers a classification may have; empty when its student's labels count.
    pub labels: Vec<String>,
    /// The student's file.
    pub student: Option<PathBuf>,
    /// The language model that is the student, in place of a file.
    pub student_model: Option<StudentModel>,
    /// The file of the JSON schema of all answers: what a tagger's answers have (`None`: they are `{slot: [values]}`), and
    /// what a decoder is trained to answer by.
    pub schema: Option<PathBuf>,
    /// The folder of the base that the student stands on, if it needs one and it is not where it was when the
    /// student was trained.
    pub base: Option<PathBuf>,
    /// The student's certificate; the file is there.
    pub certificate: Option<PathBuf>,
    /// The confidence (above 0, to 1) from which an uncertified student answers alone; `None`: it may not.
    pub uncertified_threshold: Option<f64>,
    /// What is asked, smallest first; never empty, tiers never go down.
    pub ladder: Vec<Rung>,
    /// The system prompt for a bare text; `None`: one is made of the labels.
    pub instructions: Option<String>,
    /// Fingerprints of prompts that belong to this task; no other task has one of them.
    pub templates: Vec<Template>,
    /// Answers are JSON objects with the label under this key, instead of the bare label.
    pub answer_key: Option<String>,
    /// The label of requests that are not for this task.
    pub out_of_scope_label: Option<String>,
    /// Whether the teacher's answers are kept to train from: each with the text that it answers, without earlier turns.
    pub record: bool,
    /// The share (0 to 0.5) of accepted local answers that is also sent up for audit.
    pub audit_share: f64,
    /// What every request of this task is labelled at least.
    pub minimum_label: Label,
}

/// What a task's ladder is checked and built with.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The models.
    pub(crate) models: &'a Models,
    /// The policy.
    pub(crate) privacy: &'a Privacy,
    /// The ladder that follows a student by default.
    pub(crate) routing: &'a Routing,
    /// Whether that ladder was read without a mistake.
    pub(crate) routing_is_whole: bool,
}

/// Values of one task that several checks look at, with their places.
#[derive(Debug)]
pub(crate) struct Draft {
    own: Spot,
    kind: Option<Found<TaskKind>>,
    labels: Option<Found<Vec<Found<String>>>>,
    student: Option<Found<PathBuf>>,
    student_model: Option<Found<String>>,
    forms: Forms,
    answer_tokens_max: Option<Found<usize>>,
    samples: Option<Found<usize>>,
    base: Option<Found<PathBuf>>,
    certificate: Option<PathBuf>,
    certificate_spot: Option<Spot>,
    allow_uncertified: Found<bool>,
    threshold: Option<Found<f64>>,
    ladder: Found<Vec<Found<Rung>>>,
    answer_key: Option<Found<String>>,
    out_of_scope_label: Option<Found<String>>,
    record: Found<bool>,
    audit_share: Found<f64>,
    minimum_label: Found<Label>,
}

/// What says how answers look, of which a task has one at most.
#[derive(Debug)]
struct Forms {
    schema: Option<Found<PathBuf>>,
    regex: Option<Found<String>>,
    grammar: Option<Found<PathBuf>>,
}

impl Forms {
    fn read(section: &mut Section<'_>, context: &Context<'_>) -> Self {
        Self {
            schema: file(section, "schema", context),
            regex: section.optional("regex", value::filled_text(REGEX_BYTES)),
            grammar: file(section, "grammar", context),
        }
    }

    /// Returns those that are there, with their names.
    fn given(&self) -> Vec<(&'static str, &Spot)> {
        let schema = self.schema.as_ref().map(|found| ("schema", &found.spot));
        let regex = self.regex.as_ref().map(|found| ("regex", &found.spot));
        let grammar = self.grammar.as_ref().map(|found| ("grammar", &found.spot));
        [schema, regex, grammar].into_iter().flatten().collect()
    }
}

/// Reads `[tasks]`.
pub(crate) fn read(
    root: &mut Section<'_>,
    context: &Context<'_>,
    around: Surroundings<'_>,
) -> BTreeMap<TaskName, Task> {
    let log = root.log();
    let mut tasks = BTreeMap::new();
    let mut owners: BTreeMap<Template, TaskName> = BTreeMap::new();
    for (key, section) in root.named_tables("tasks") {
        let own = section.own_spot();
        let name: Option<TaskName> = key.parse().ok();
        if name.is_none() {
            let problem = Problem::new("has a name that callers cannot say")
                .hint("use 1 to 64 of a-z, 0-9, `-`, `_`, `.`, starting with a letter or digit");
            log.problem(MistakeKind::BadValue, &own, problem);
        }
        let (task, templates) = read_one(&key, section, context, around);
        let Some(name) = name else { continue };
        for template in templates {
            if let Some(owner) = owners.get(&template.value) {
                let problem =
                    Problem::new(format!("claims {}, which `tasks.{owner}` has already", template.value))
                        .hint("a prompt can belong to one task only");
                log.problem(MistakeKind::Conflict, &template.spot, problem);
            } else {
                owners.insert(template.value, name.clone());
            }
        }
        if let Some(task) = task {
            tasks.insert(name, task);
        }
    }
    tasks
}

fn read_one(
    key: &str,
    mut section: Section<'_>,
    context: &Context<'_>,
    around: Surroundings<'_>,
) -> (Option<Task>, Vec<Found<Template>>) {
    let log = section.log();
    let kind = section.required("kind", value::word(KINDS));
    let labels = section.items("labels", |text| value::filled(text, 256));
    let student = file(&mut section, "student", context);
    let student_model = section.optional("student_model", value::filled_text(128));
    let forms = Forms::read(&mut section, context);
    let answer_tokens_max = section.optional("answer_tokens_max", value::whole(1..=1_000_000_usize));
    let samples = section.optional("samples", value::whole(0..=16_usize));
    let base = folder(&mut section, "base", context);
    let beside = beside(key, student.as_ref(), student_model.as_ref(), context);
    let (certificate, certificate_spot) = certificate(&mut section, beside.clone(), context);
    let allow_uncertified = section.or("allow_uncertified", false, value::boolean);
    let threshold = threshold(&mut section, allow_uncertified.value);
    let ladder = read_ladder(&mut section, student.is_some() || student_model.is_some(), around);
    let instructions = section.optional("instructions", value::filled_text(64 * 1024));
    let templates = section.items_or_none("templates", template);
    let answer_key = section.optional("answer_key", value::filled_text(128));
    let out_of_scope_label = section.optional("out_of_scope_label", value::filled_text(256));
    let record = section.or("record", false, value::boolean);
    let audit_share = section.or("audit_share", 0.0, value::number(0.0..=0.5));
    let minimum_label = section.or("minimum_label", Label::Public, value::word(privacy::LABELS));
    let draft = Draft {
        own: section.own_spot(),
        kind,
        labels,
        student,
        student_model,
        forms,
        answer_tokens_max,
        samples,
        base,
        certificate,
        certificate_spot,
        allow_uncertified,
        threshold,
        ladder,
        answer_key,
        out_of_scope_label,
        record,
        audit_share,
        minimum_label,
    };
    checks::run(&draft, around, log);
    section.finish();
    let fingerprints = templates.iter().map(|template| template.value).collect();
    let task = finished(draft, beside, (instructions, fingerprints));
    (task, templates)
}

/// Returns the task that a draft without mistakes describes; nothing where it has no kind.
fn finished(
    draft: Draft,
    beside: Option<PathBuf>,
    (instructions, templates): (Option<Found<String>>, Vec<Template>),
) -> Option<Task> {
    let text = |found: Option<Found<String>>| found.map(|found| found.value);
    let uncertified_threshold =
        draft.threshold.map(|found| found.value).filter(|_| draft.allow_uncertified.value);
    let schema = draft.forms.schema.map(|schema| schema.value);
    draft.kind.map(|kind| Task {
        kind: kind.value,
        labels: draft.labels.map(|labels| values(labels.value)).unwrap_or_default(),
        student: draft.student.map(|student| student.value),
        student_model: draft.student_model.map(|model| StudentModel {
            model: model.value,
            schema: schema.clone(),
            regex: text(draft.forms.regex),
            grammar: draft.forms.grammar.map(|grammar| grammar.value),
            answer_tokens_max: draft.answer_tokens_max.map_or(ANSWER_TOKENS, |tokens| tokens.value),
            samples: draft.samples.map_or(0, |samples| samples.value),
            certificate: draft.certificate.clone().or(beside).unwrap_or_default(),
        }),
        schema,
        base: draft.base.map(|base| base.value),
        certificate: draft.certificate,
        uncertified_threshold,
        ladder: values(draft.ladder.value),
        instructions: text(instructions),
        templates,
        answer_key: text(draft.answer_key),
        out_of_scope_label: text(draft.out_of_scope_label),
        record: draft.record.value,
        audit_share: draft.audit_share.value,
        minimum_label: draft.minimum_label.value,
    })
}

/// Returns where a student's certificate is unless somebody says: beside its file or, for a language model, beside the
/// configuration under the task's name.
fn beside(
    key: &str,
    student: Option<&Found<PathBuf>>,
    model: Option<&Found<String>>,
    context: &Context<'_>,
) -> Option<PathBuf> {
    match (student, model) {
        (Some(student), _) => Some(student.value.with_extension("certificate.json")),
        (None, model) => model.map(|_| context.resolve(&format!("{key}.certificate.json"))),
    }
}

/// Reads a path of something that is there.
pub(crate) fn file(
    section: &mut Section<'_>,
    key: &'static str,
    context: &Context<'_>,
) -> Option<Found<PathBuf>> {
    let text = value::filled_text(4096);
    let found = section.optional(key, |node| text(node).map(|path| context.resolve(&path)))?;
    context.check_exists(&found, section.log());
    Some(found)
}

/// Reads a folder. Whether it is there shows when the student is loaded, which looks into it.
fn folder(section: &mut Section<'_>, key: &'static str, context: &Context<'_>) -> Option<Found<PathBuf>> {
    let text = value::filled_text(4096);
    section.optional(key, |node| text(node).map(|path| context.resolve(&path)))
}

/// Reads `certificate`; by default it is the file `beside`, when it is there.
fn certificate(
    section: &mut Section<'_>,
    beside: Option<PathBuf>,
    context: &Context<'_>,
) -> (Option<PathBuf>, Option<Spot>) {
    if section.has("certificate") {
        let spot = section.spot("certificate");
        let found = file(section, "certificate", context);
        let spot = found.as_ref().map_or(spot, |found| found.spot.clone());
        return (found.map(|found| found.value), Some(spot));
    }
    // Asked for although absent, so that the key is known.
    let _ = section.optional("certificate", |node| value::text(node).map(PathBuf::from));
    let beside = beside.filter(|path| context.files.exists(path));
    if let Some(path) = &beside {
        section.default_is("certificate", path);
    }
    (beside, None)
}

fn threshold(section: &mut Section<'_>, is_allowed: bool) -> Option<Found<f64>> {
    let read = value::number(0.0..=1.0);
    let above_zero = |node: &_| match read(node)? {
        0.0 => Err(Problem::new("is 0, which accepts every answer").hint("allowed: above 0, to 1")),
        number => Ok(number),
    };
    if is_allowed {
        return Some(section.or("uncertified_threshold", UNCERTIFIED_THRESHOLD, above_zero));
    }
    section.optional("uncertified_threshold", above_zero)
}

fn read_ladder(
    section: &mut Section<'_>,
    has_student: bool,
    around: Surroundings<'_>,
) -> Found<Vec<Found<Rung>>> {
    let is_given = section.has("ladder");
    if let Some(found) = section.items("ladder", ladder::rung) {
        ladder::check(&found.value, around.models, section.log());
        return found;
    }
    let student = has_student.then_some(Rung::Student);
    let models = around.routing.ladder.iter().cloned().map(Rung::Model);
    let rungs: Vec<Rung> = student.into_iter().chain(models).collect();
    if !is_given && !rungs.is_empty() {
        section.default_is("ladder", &rungs);
    }
    let spot = Spot { place: Place::Default, ..section.spot("ladder") };
    let found = |value| Found { value, spot: spot.clone() };
    Found { value: rungs.into_iter().map(found).collect(), spot: spot.clone() }
}

fn template(text: &str) -> Result<Template, Problem> {
    let is_hex = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let refuse = || {
        Problem::new(format!("holds no fingerprint: {}", value::quote(text)))
            .hint("a fingerprint has 16 of 0-9 and a-f, as the ledger shows it")
    };
    text.parse().ok().filter(|_| is_hex).ok_or_else(refuse)
}
