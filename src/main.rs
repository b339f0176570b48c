//! The command line of Weir.

mod backend;
mod cli;
mod compare;
mod eval;
mod gromacs;
mod hardware;
mod install_deepmd;
mod kernels;
mod log;
mod md;
mod minimize;
mod model;
mod plan;
mod problem;
mod profile;
mod report;
mod serve;
mod settings;
mod slice;
mod structures;
mod survey;
mod table;
mod trace;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use cli::{Cli, Command, ComputeArgs, GromacsCommand, KernelsCommand, ModelArgs, ModelCommand};
use log::{Level, Log};
use problem::{one_line, OutputClosed, Usage};
use settings::Sources;
use std::process::ExitCode;
use std::time::Instant;
use weir_allocators::policy::Layer;

fn main() -> ExitCode {
    let began = Instant::now();
    let cli = Cli::parse();
    let quiet = if cli.quiet { Level::Warn } else { Level::Info };
    let mut log = Log::new(quiet, cli.log_format);
    match run(&cli, &mut log, began) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has what they wanted.
        Err(e) if e.downcast_ref::<OutputClosed>().is_some() => ExitCode::SUCCESS,
        Err(e) => {
            log.say(Level::Error, &one_line(&e));
            ExitCode::from(if e.downcast_ref::<Usage>().is_some() { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli, log: &mut Log, began: Instant) -> Result<()> {
    if let Command::Completions { shell } = cli.command {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "weir", &mut text);
        return problem::print(&String::from_utf8_lossy(&text));
    }
    let sources = Sources::read()?;
    if let (Some(level), false) = (sources.log(), cli.quiet) {
        *log = Log::new(Level::parse(&level.origin, &level.value)?, cli.log_format);
    }
    match &cli.command {
        Command::Eval(args) => {
            eval::run(args, &engine(&args.model, &args.compute, Sources::settle, &sources, log)?, log)
        }
        Command::Md(args) => md::run(args, &sources, log, began),
        Command::Minimize(args) => {
            minimize::run(args, &engine(&args.model, &args.compute, Sources::settle, &sources, log)?, log)
        }
        Command::Serve(args) => {
            serve::run(args, &engine(&args.model, &args.compute, Sources::settle, &sources, log)?, log)
        }
        Command::Profile(args) => {
            profile::run(args, &engine(&args.model, &args.compute, Sources::settle, &sources, log)?, &sources, log)
        }
        Command::Report(args) => survey::run(args, &sources, log),
        Command::Hardware(args) => hardware::run(args, &sources, log),
        Command::Plan(args) => plan::run(args, &sources, log),
        Command::Model(ModelCommand::Info { model, json }) => {
            model::info(&engine(model, &ComputeArgs::default(), Sources::look, &sources, log)?, *json)
        }
        Command::Model(ModelCommand::Heads { model }) => model::heads(model),
        Command::Model(ModelCommand::Convert { model, out }) => {
            model::convert(&engine(model, &ComputeArgs::default(), Sources::look, &sources, log)?, out, log)
        }
        Command::Model(ModelCommand::New { preset, seed, out }) => model::new(preset, *seed, out, log),
        Command::Kernels(KernelsCommand::Build(args)) => kernels::build_all(args, log),
        Command::Kernels(KernelsCommand::List { folder, json }) => kernels::list_all(folder, *json),
        Command::InstallDeepmd(args) => install_deepmd::run(args),
        Command::Gromacs(GromacsCommand::Prepare(args)) => {
            let engine = engine(&args.model, &ComputeArgs::default(), Sources::look, &sources, log)?;
            gromacs::prepare(args, &engine, log)
        }
        Command::Completions { .. } => unreachable!("handled above"),
    }
}

/// How settings are resolved: for the CPU, for whatever computes, for nothing.
type Resolve = fn(&Sources, &[Layer], &Layer) -> Result<settings::Settings, problem::Usage>;

/// The model of the command line with the settings of flags and environment.
fn engine(
    model: &ModelArgs,
    compute: &ComputeArgs,
    resolve: Resolve,
    sources: &Sources,
    log: &Log,
) -> Result<backend::Engine> {
    let flags = settings::flags(compute, model.head.as_deref())?;
    let settings = resolve(sources, &[flags], &Default::default())?;
    backend::Engine::load(&model.model, model.allow_unknown, settings, log)
}
