//! The training of a student as other trainers run it: their settings, and the rows as conversations.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bantam_local::{DecoderStudentFile, StudentAnswerForm};
use bantam_train::RunConfig;
use serde_json::{Value, json};

use super::{ExportError, ExportForm, ExportReport, ExportRequest, ExportedRows, make_folder};
use crate::decoder_rows::{DecoderRow, RowContent, conversation, read_decoder_rows, written};

/// The rows, beside the settings.
const ROWS: &str = "rows.jsonl";

/// The figures of a training.
struct Figures {
    base: String,
    rank: u64,
    alpha: f64,
    run: RunConfig,
    /// Steps in which the rate rises: newer releases of trl take no share of the steps.
    warmup: u64,
    tokens: usize,
    /// For preferences.
    beta: Option<f64>,
}

/// Writes settings and rows into the folder.
pub(super) fn write(
    request: &ExportRequest,
    student: &DecoderStudentFile,
    base: &Path,
) -> Result<ExportReport, ExportError> {
    let data = request.data.as_deref().ok_or(ExportError::NoRows)?;
    let rows = read_decoder_rows(data, Some(&student.instructions))?;
    let figures = figures(student, base, rows.len())?;
    let mut lines = String::new();
    for row in &rows {
        lines.push_str(&line(row, student).to_string());
        lines.push('\n');
    }
    make_folder(&request.out)?;
    let (name, text, start) = match request.form {
        ExportForm::Axolotl => ("axolotl.yml", axolotl(&figures), "axolotl train axolotl.yml"),
        _ => ("train.py", trl(&figures), "python train.py"),
    };
    for (name, text) in [(ROWS, &lines), (name, &text)] {
        let path: PathBuf = request.out.join(name);
        std::fs::write(&path, text).map_err(|source| ExportError::Write { path, source })?;
    }
    Ok(ExportReport {
        form: request.form,
        path: request.out.clone(),
        is_whole_model: false,
        rows: Some(ExportedRows { path: request.out.join(ROWS), count: rows.len() as u64 }),
        start: Some(start.to_owned()),
    })
}

fn figures(student: &DecoderStudentFile, base: &Path, rows: usize) -> Result<Figures, ExportError> {
    if student.base.is_none() {
        return Err(ExportError::TrainedHereAlone);
    }
    if !base.is_dir() {
        return Err(ExportError::GgufBase { base: base.to_owned() });
    }
    let of = |pointer: &str| student.config.pointer(pointer).and_then(Value::as_f64);
    let number = |pointer: &str| of(pointer).ok_or(ExportError::NoSettings);
    let run = student.config.get("run").cloned().and_then(|run| serde_json::from_value(run).ok());
    let run: RunConfig = run.ok_or(ExportError::NoSettings)?;
    // The recipe is run in a folder of its own.
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    Ok(Figures {
        base: base.to_string_lossy().into_owned(),
        rank: number("/rank")? as u64,
        alpha: number("/alpha")?,
        warmup: run.schedule(rows).warmup,
        run,
        tokens: student.row_tokens_max,
        beta: of("/beta"),
    })
}

/// A row as a conversation.
fn line(row: &DecoderRow, student: &DecoderStudentFile) -> Value {
    let schema = match &student.answer {
        StudentAnswerForm::Schema(schema) => Some(schema),
        StudentAnswerForm::Labels(_) | StudentAnswerForm::Text => None,
    };
    match &row.content {
        RowContent::Question { text, answer, .. } => {
            let mut messages = conversation(&student.instructions, text);
            messages.push(json!({ "role": "assistant", "content": written(answer, schema) }));
            json!({ "messages": messages })
        }
        RowContent::Conversation { messages, tools } if tools.is_empty() => json!({ "messages": messages }),
        RowContent::Conversation { messages, tools } => json!({ "messages": messages, "tools": tools }),
        RowContent::Pair { prompt, chosen, rejected } => {
            json!({ "prompt": prompt, "chosen": chosen, "rejected": rejected })
        }
    }
}

/// A string as JSON, which is YAML and Python too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn axolotl(figures: &Figures) -> String {
    let Figures { base, rank, alpha, run, warmup, tokens, beta } = figures;
    let RunConfig { epochs, batch_rows: batch, rate, decay, clip, seed, .. } = run;
    let mut text = format!("base_model: {}\n", quoted(base));
    let data = match beta {
        None => {
            "datasets:\n  - path: rows.jsonl\n    ds_type: json\n    type: chat_template\n    \
             field_messages: messages\n    roles_to_train: [assistant]\n    train_on_eos: turn\n"
        }
        Some(_) => {
            "rl: dpo\ndatasets:\n  - path: rows.jsonl\n    ds_type: json\n    type: chat_template.default\n    \
             field_messages: prompt\n    field_chosen: chosen\n    field_rejected: rejected\n"
        }
    };
    text.push_str(data);
    if let Some(beta) = beta {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "rl_beta: {beta}");
    }
    let _ = write!(
        text,
        "adapter: lora\nlora_r: {rank}\nlora_alpha: {alpha}\nlora_dropout: 0.0\nlora_target_linear: true\n\
         sequence_len: {tokens}\nmicro_batch_size: {batch}\ngradient_accumulation_steps: 1\n\
         num_epochs: {epochs}\nlearning_rate: {rate}\nlr_scheduler: cosine\nwarmup_steps: {warmup}\n\
         optimizer: adamw_torch\nweight_decay: {decay}\nmax_grad_norm: {clip}\nseed: {seed}\n\
         output_dir: adapter\n"
    );
    text
}

fn trl(figures: &Figures) -> String {
    let Figures { base, rank, alpha, run, warmup, tokens, beta } = figures;
    let RunConfig { epochs, batch_rows: batch, rate, decay, clip, seed, .. } = run;
    let (base, is_preference) = (quoted(base), beta.is_some());
    let (kind, own) = match beta {
        Some(beta) => ("DPO", format!("    beta={beta},\n")),
        None => ("SFT", "    assistant_only_loss=False,\n    completion_only_loss=True,\n".to_owned()),
    };
    // One answer a row: what comes before it is the prompt, of which nothing is learnt.
    let rows = match is_preference {
        true => "rows = load_dataset(\"json\", data_files=\"rows.jsonl\", split=\"train\")\n",
        false => {
            "rows = load_dataset(\"json\", data_files=\"rows.jsonl\", split=\"train\").map(\n    \
             lambda row: {\"prompt\": row[\"messages\"][:-1], \"completion\": row[\"messages\"][-1:]},\n    \
             remove_columns=[\"messages\"],\n)\n"
        }
    };
    format!(
        "\"\"\"Trains an adapter as Bantam did. Needs: pip install trl peft datasets\"\"\"\n\n\
         import torch\nfrom datasets import load_dataset\nfrom peft import LoraConfig\n\
         from trl import {kind}Config, {kind}Trainer\n\n{rows}\
         config = {kind}Config(\n    output_dir=\"adapter\",\n    num_train_epochs={epochs},\n    \
         per_device_train_batch_size={batch},\n    learning_rate={rate},\n    \
         lr_scheduler_type=\"cosine\",\n    warmup_steps={warmup},\n    weight_decay={decay},\n    \
         max_grad_norm={clip},\n    max_length={tokens},\n    seed={seed},\n    \
         bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),\n{own})\n\
         lora = LoraConfig(\n    r={rank},\n    lora_alpha={alpha},\n    lora_dropout=0.0,\n    \
         target_modules=\"all-linear\",\n    task_type=\"CAUSAL_LM\",\n)\n\
         trainer = {kind}Trainer(model={base}, args=config, train_dataset=rows, peft_config=lora)\n\
         trainer.train()\ntrainer.save_model()\n"
    )
}
