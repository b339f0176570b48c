//! The command line of Weir.

mod backend;
mod cli;
mod compare;
mod environment;
mod eval;
mod log;
mod md;
mod minimize;
mod model;
mod policy;
mod problem;
mod report;
mod slice;
mod structures;
mod table;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use cli::{Cli, Command, ComputeArgs, ModelArgs, ModelCommand};
use environment::Environment;
use log::{Level, Log};
use policy::{Layer, Policy, Setting};
use problem::{one_line, OutputClosed, Usage};
use std::process::ExitCode;
use std::time::Instant;

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
    let environment = Environment::read()?;
    if let (Some(level), false) = (&environment.log, cli.quiet) {
        *log = Log::new(Level::parse(&level.origin, &level.value)?, cli.log_format);
    }
    match &cli.command {
        Command::Eval(args) => eval::run(args, &engine(&args.model, &args.compute, &environment, log)?, log),
        Command::Md(args) => md::run(args, &environment, log, began),
        Command::Minimize(args) => minimize::run(args, &engine(&args.model, &args.compute, &environment, log)?, log),
        Command::Model(ModelCommand::Info { model, json }) => {
            model::info(&engine(model, &ComputeArgs::default(), &environment, log)?, *json)
        }
        Command::Model(ModelCommand::Heads { model }) => model::heads(model),
        Command::Model(ModelCommand::Convert { model, out }) => {
            model::convert(&engine(model, &ComputeArgs::default(), &environment, log)?, out, log)
        }
        Command::Model(ModelCommand::New { preset, seed, out }) => model::new(preset, *seed, out, log),
        Command::Completions { .. } => unreachable!("handled above"),
    }
}

/// The model of the command line with the settings of flags and environment.
fn engine(model: &ModelArgs, compute: &ComputeArgs, environment: &Environment, log: &Log) -> Result<backend::Engine> {
    let flags =
        Layer { head: model.head.clone().map(|h| Setting::new(h, "--head")), ..minimize::compute_layer(compute)? };
    let policy = Policy::resolve(&[flags, environment.variables.clone(), environment.file.clone()]);
    backend::Engine::load(&model.model, model.allow_unknown, policy, log)
}
