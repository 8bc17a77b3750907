//! The command line.

pub(crate) mod decoder;
pub(crate) mod models;
pub(crate) mod train;
#[rustfmt::skip]
mod values;

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

/// Returns the command line as clap has it, with every command and argument.
pub fn command_line() -> clap::Command {
    Cli::command()
}

/// Local-first AI gateway: narrow work on small models, the rest escalated, every attempt accounted for.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct GlobalArgs {
    /// The configuration file [default: $XDG_CONFIG_HOME/bantam/bantam.toml]
    #[arg(long, global = true, env = crate::environment::BANTAM_CONFIG.name, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Overrides one setting, such as --set server.bind=127.0.0.1:6000
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Prints JSON for machines
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Prints nothing but results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Forbids the network: what needs it says so, with exit code 4
    #[arg(long, global = true)]
    pub(crate) offline: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the gateway
    Serve,
    /// Shows the whole story in two minutes, with a simulated frontier model and no network
    Demo(DemoArgs),
    /// Shows or checks the configuration
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Trains students and asks them
    Student {
        /// What to do with it.
        #[command(subcommand)]
        command: StudentCommand,
    },
    /// Trains the student of a task on its recorded answers or on rows
    Train(Box<train::TrainCommand>),
    /// Proves from which confidence on a task's student may answer alone
    Certify(CertifyArgs),
    /// Lists configured and discovered tasks
    Task {
        /// What to do with them.
        #[command(subcommand)]
        command: TaskCommand,
    },
    /// Shows what was spent, what the baseline would have cost, and what was saved
    Usage(UsageArgs),
    /// Explains what would happen to a request, without calling anybody
    Route(RouteArgs),
    /// Lists the models that a running gateway has in memory
    Ps,
    /// Unloads a model of a running gateway once nobody uses it
    Stop {
        /// The model, as callers name it
        model: String,
        /// Seconds to wait for requests that use it
        #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=600))]
        wait: u64,
    },
    /// Finds engines that run on this machine: Ollama, llama-server, vLLM, llama-cpp-python
    Engines {
        /// Looks at these addresses alone, such as http://127.0.0.1:9000 [default: where engines usually listen]
        #[arg(long, value_name = "URL")]
        at: Vec<String>,
    },
    /// Talks with a model on this machine
    Run(models::RunArgs),
    /// Gets a model from the hub
    Pull {
        /// ORG/REPO on the hub, with :TAG for one quantisation or file, and @REVISION for one version
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Takes a model from a file, a folder or a bundle
    Import(models::ImportArgs),
    /// Lists the models on this machine
    #[command(visible_alias = "ls")]
    List,
    /// Shows what a model is and where it came from
    Show {
        /// The model
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Removes models
    Rm(models::RmArgs),
    /// Gives a model a second name
    Cp(models::CpArgs),
    /// Writes models to one file, for a machine without a network
    Export(models::ExportArgs),
    /// Makes a model smaller, and measures what that costs
    #[command(visible_alias = "quantise")]
    Quantize(models::QuantizeArgs),
    /// Lists, shows and cancels long work: pulls, imports, trainings
    Job {
        /// What to do with it.
        #[command(subcommand)]
        command: JobCommand,
    },
    /// Measures this machine and says how fast which models would run, or checks upstreams
    Doctor {
        /// Ask each upstream for its models instead, and say what is wrong with those that do not answer
        #[arg(long, conflicts_with = "threads")]
        upstreams: bool,
        /// Threads [default: all cores]
        #[arg(long, value_name = "N")]
        threads: Option<usize>,
    },
    /// Measures how fast a model runs on this machine
    Bench(BenchArgs),
}

/// `bantam demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Labelled rows ({"text","label"} a line) in place of the generated support desk
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) data: Option<PathBuf>,
    /// Learns an encoder student on the base in this folder, in place of a linear one
    #[arg(long, value_name = "FOLDER")]
    pub(crate) base: Option<PathBuf>,
    /// Leaves the gateway running afterwards
    #[arg(long)]
    pub(crate) serve: bool,
    /// Seed of the generator and of the simulated model
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// The certified error among local answers
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub(crate) error: f64,
}

/// `bantam bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// A model of the store, a GGUF file, or a folder with config.json and model.safetensors
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Measures a decoder's mixed load with so many adapters too, such as 1,8,32
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) adapters: Vec<u64>,
    /// How often each case is timed
    #[arg(long, value_name = "N")]
    pub(crate) times: Option<usize>,
}

/// `bantam config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints the effective settings
    Show {
        /// Says where each one comes from
        #[arg(long)]
        origin: bool,
    },
    /// Checks the file and reports every mistake
    Check,
    /// Prints a complete, commented example
    Example,
    /// Checks the file, and lets a running gateway take it over although it lost sections
    Apply,
}

/// `bantam job`.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Lists jobs, the newest first
    List,
    /// Shows all that is known of a job
    Show {
        /// The job
        id: String,
    },
    /// Asks a job to stop
    Cancel {
        /// The job
        id: String,
    },
}

/// `bantam student`.
#[derive(Debug, Subcommand)]
pub(crate) enum StudentCommand {
    /// Learns a student from labelled rows or from a task's recorded answers
    Train(Box<train::TrainStudentArgs>),
    /// Labels rows, one {"label","probability","out_of_scope"} a line; of a tagger {"slots","fields","confidence"}, of a
    /// decoder {"answer","confidence"}
    Predict {
        /// The student's file or folder
        #[arg(long, value_name = "FILE")]
        student: PathBuf,
        /// Rows with a "text" each
        #[arg(long, value_name = "FILE.jsonl")]
        input: PathBuf,
        /// The student's base [default: where training found it]
        #[arg(long, value_name = "FOLDER")]
        base: Option<PathBuf>,
    },
    /// Prints what a student's file says about itself
    Show {
        /// The student's file or folder
        student: PathBuf,
    },
}

/// `bantam certify`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CertifyArgs {
    /// The task
    pub(crate) task: String,
    /// The most errors among accepted answers, such as 0.02
    #[arg(long, value_parser = share)]
    pub(crate) error: f64,
    /// The chance that the bound holds, such as 0.95
    #[arg(long, default_value_t = 0.95, value_parser = share)]
    pub(crate) confidence: f64,
    /// Labelled rows that the student was not trained on [default: the recorded answers kept back]
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) data: Option<PathBuf>,
    /// Where to write the certificate [default: beside the student]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `bantam task`.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Lists tasks with volume, tokens, cost and latency
    List,
}

/// `bantam usage`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UsageArgs {
    /// Splits the figures
    #[arg(long, value_enum)]
    pub(crate) by: Option<UsageBy>,
    /// The first day, YYYY-MM-DD (UTC)
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<String>,
    /// The day after the last, YYYY-MM-DD (UTC)
    #[arg(long, value_name = "DAY")]
    pub(crate) until: Option<String>,
}

/// What usage can be split by.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum UsageBy {
    /// One row a task
    Task,
    /// One row a tier
    Tier,
    /// One row a model
    Model,
    /// One row for each key that callers showed, by the variable that holds it
    Caller,
    /// One row for each path that was asked
    Endpoint,
    /// One row a day
    Day,
}

/// `bantam route`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RouteArgs {
    /// The user's text
    #[arg(long, value_name = "TEXT")]
    pub(crate) explain: String,
    /// What the caller would name: a task (task/NAME), a model, or auto
    #[arg(long, default_value = "auto")]
    pub(crate) model: String,
    /// A system message before the text
    #[arg(long)]
    pub(crate) system: Option<String>,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("expected a number between 0 and 1, such as 0.02".to_owned()),
    }
}
