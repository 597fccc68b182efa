//! The load tool: what was asked for, and which scenario does it.

mod blocking;
mod churn;
mod dialog;
mod driver;
mod fanout;
#[path = "../../tests/common/gemini.rs"]
mod gemini;
mod idle;
mod machine;
mod options;
mod protocol;
mod report;
mod rox;
mod server;
mod stalled;
mod storm;
mod stream;
mod tally;
mod tls;
#[path = "../../tests/common/tls_client.rs"]
mod tls_client;

use std::error::Error;
use std::process::ExitCode;

use options::Options;
use report::Report;

/// What a step of a run gives, or why the run cannot go on.
type Outcome<T> = Result<T, Box<dyn Error>>;

pub(super) fn main() -> ExitCode {
    let mut options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("load: {error}\n\n{}", options::usage());
            return ExitCode::FAILURE;
        }
    };
    match prepare(&mut options).and_then(|()| run(&options)) {
        Ok(report) => report.print(),
        Err(error) => {
            eprintln!("\nload: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Room for thousands of sockets, and a core of its own for each side where there are two.
fn prepare(options: &mut Options) -> Outcome<()> {
    machine::raise_descriptor_limit()?;
    if std::thread::available_parallelism()?.get() > 1 {
        options.driver_cpu.get_or_insert(1);
        if options.target.is_none() {
            options.server_cpu.get_or_insert(0);
        }
    }
    match options.driver_cpu {
        Some(core) => Ok(machine::pin(None, core)?),
        None => Ok(()),
    }
}

fn run(options: &Options) -> Outcome<Report> {
    match options.scenario {
        "fanout" => fanout::fanout(options),
        "rate" => fanout::rate(options),
        "idle" => idle::idle(options),
        "login" => idle::login(options),
        "stalled" => stalled::stalled(options),
        "storm" => storm::storm(options),
        "everything" => storm::everything(options),
        "churn" => churn::churn(options),
        "scan" => churn::scan(options),
        "tls" => tls::tls(options),
        "rox" => rox::rox(options),
        other => Err(format!("{other} is not implemented").into()),
    }
}
