//! Load on a server of pictures: requests that arrive when they are due, whether or not the answers
//! to those before have come.
//!
//! ```text
//! cargo run --release -p resnet-server --example load -- --arrivals poisson --rate 100
//!     --url http://127.0.0.1:8080/classify/resnet50 --body a.jpg b.jpg
//! ```
//!
//! Latency counts from the moment a request was due, so that a server that answers late cannot hide
//! it by keeping the generator from sending. Standard library, threads that block: a request costs
//! one wake-up of the thread that sends it and one of the same thread when it is answered.

mod arrivals;
mod asked;
mod client;
mod expected;
mod report;
mod workers;

use std::process::ExitCode;

fn main() -> ExitCode {
    let asked = match asked::read(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let expected = match &asked.expect {
        Some(path) => match expected::read(path, asked.bodies.len()) {
            Ok(expected) => expected,
            Err(text) => {
                eprintln!("error: {text}");
                return ExitCode::from(2);
            }
        },
        None => Vec::new(),
    };
    let requests = match client::requests(&asked) {
        Ok(requests) => requests,
        Err(text) => {
            eprintln!("error: {text}");
            return ExitCode::from(2);
        }
    };
    let (samples, use_) = workers::run(&asked, &requests, &expected);
    let report = report::Report::new(&asked, &samples, &use_);
    if asked.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    // A wrong answer is worse than none.
    if report.mismatches > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
