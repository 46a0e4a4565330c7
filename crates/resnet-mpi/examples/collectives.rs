//! What every call gives and costs, and what happens when a rank fails; started by a launcher.
//!
//! ```text
//! mpirun -n 4 collectives check [NUMBERS ...]  # every call, parts of so many numbers
//! mpirun -n 4 collectives time BYTES ROUNDS    # ordered sums against MPI's own
//! mpirun -n 4 collectives hang|stop|kill|panic|end RANK [PATIENCE]  # one rank fails
//! ```

use std::process::{self, Command, ExitCode};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use resnet_mpi::{Calls, MpiError, World, launched};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(launched) = launched() else {
        println!("alone: no launcher started this process");
        return Ok(());
    };
    let tell = Box::new(|message: &str| eprintln!("given up: {message}"));
    let world = World::open(&launched, tell)?;
    match words[..] {
        ["check"] => check(&world, &[0, 1, 7, 1000, 65537]),
        ["check", ref parts @ ..] => {
            let parts: Result<Vec<usize>, _> = parts.iter().map(|word| word.parse()).collect();
            check(&world, &parts?)
        }
        ["time", bytes, rounds] => time(&world, bytes.parse()?, rounds.parse()?),
        [what, rank] => fail(&world, what, rank.parse()?, 2.0),
        [what, rank, patience] => fail(&world, what, rank.parse()?, patience.parse()?),
        _ => Err("expected check, time BYTES ROUNDS, or hang|stop|kill|panic|end RANK".into()),
    }
}

/// Runs work on the thread of communication and waits for it.
fn ask<T: Send + 'static>(
    world: &World,
    work: impl FnOnce(&mut Calls) -> Result<T, MpiError> + Send + 'static,
) -> Result<T, MpiError> {
    let (sender, receiver) = channel();
    world.start(Box::new(move |calls| {
        // Nobody may be waiting any more.
        let _ = sender.send(work(calls));
    }));
    receiver.recv().map_err(|_| MpiError::Ended)?
}

/// A number that tells who sent it to whom, and where it stands.
fn mark(from: usize, to: usize, i: usize) -> f32 {
    (from * 1_000_003 + to * 10_007 + i % 5003) as f32
}

fn check(world: &World, parts: &[usize]) -> Result<(), Failure> {
    let (rank, ranks) = (world.rank(), world.count());
    // Whole, and cut into many calls.
    for (&part, cut) in
        parts.iter().flat_map(|part| [usize::MAX, part * ranks / 2].map(|cut| (part, cut)))
    {
        let here = format!("rank {rank}, parts of {part}, cut at {cut}");
        let (all, one, bytes) = ask(world, move |calls| {
            calls.cut_at(cut);
            let to = |to| (0..part).map(move |i| mark(rank, to, i));
            let send: Vec<f32> = (0..ranks).flat_map(to).collect();
            let (mut all, mut one) = (vec![-1.0; part * ranks], vec![-1.0; part * ranks]);
            calls.all_to_all(&send, &mut all)?;
            calls.all_gather(&send[..part], &mut one)?;
            // Of different lengths, nothing among them.
            let bytes: Vec<u8> = (0..part * rank).map(|i| (i * 7 + rank) as u8).collect();
            let bytes = calls.all_gather_bytes(&bytes)?;
            Ok((all, one, bytes))
        })?;
        for from in 0..ranks {
            let holds = |got: &[f32], to: usize| {
                (0..part).all(|i| got[from * part + i] == mark(from, to, i))
            };
            assert!(holds(&all, rank), "all to all: {here}, from {from}");
            assert!(holds(&one, 0), "all gather: {here}, from {from}");
            let want: Vec<u8> = (0..part * from).map(|i| (i * 7 + from) as u8).collect();
            assert!(bytes[from] == want, "bytes: {here}, from {from}");
        }
    }
    let cpus = world.cpus().map_or("unknown".into(), |cpus| {
        format!("{} of {} CPUs, {} ranks here", cpus.bound, cpus.machine, cpus.ranks)
    });
    println!("ok: rank {rank} of {ranks}, {}, {cpus}", world.about());
    Ok(())
}

/// Sums in a tree's order: every rank sums one part, and all receive the parts.
fn ordered(
    calls: &mut Calls,
    ranks: usize,
    send: &mut [f32],
    recv: &mut [f32],
) -> Result<(), MpiError> {
    calls.all_to_all(send, recv)?;
    let part = send.len() / ranks;
    let mut step = 1;
    while step < ranks {
        for left in (0..ranks - step).step_by(2 * step) {
            let (before, from) = recv.split_at_mut((left + step) * part);
            let into = &mut before[left * part..][..part];
            into.iter_mut().zip(&from[..part]).for_each(|(sum, x)| *sum += x);
        }
        step *= 2;
    }
    calls.all_gather(&recv[..part], send)
}

fn time(world: &World, bytes: usize, rounds: usize) -> Result<(), Failure> {
    let (rank, ranks) = (world.rank(), world.count());
    let (own, plain) = ask(world, move |calls| {
        let len = (bytes / 4).div_ceil(ranks) * ranks;
        let numbers = |i: usize| (i % 1000) as f32 * 0.001 + rank as f32;
        let mut send: Vec<f32> = (0..len).map(numbers).collect();
        let mut recv = vec![0.0; len];
        let mut times = (Vec::new(), Vec::new());
        for _ in 0..rounds.max(1) {
            calls.all_gather_bytes(&[])?;
            let began = Instant::now();
            ordered(calls, ranks, &mut send, &mut recv)?;
            times.0.push(began.elapsed().as_secs_f64());
            calls.all_gather_bytes(&[])?;
            let began = Instant::now();
            calls.all_reduce(&send, &mut recv)?;
            times.1.push(began.elapsed().as_secs_f64());
        }
        Ok(times)
    })?;
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2] * 1e3
    };
    let (own, plain) = (median(own), median(plain));
    if rank == 0 {
        let about = world.about();
        println!(
            "{about}, {ranks} ranks, {bytes} bytes: ordered {own:.2} ms, MPI_Allreduce {plain:.2} ms"
        );
    }
    Ok(())
}

fn fail(world: &World, what: &str, failing: usize, patience: f64) -> Result<(), Failure> {
    world.set_patience(Some(Duration::try_from_secs_f64(patience)?));
    for call in 0.. {
        if call == 3 && world.rank() == failing {
            println!("rank {failing} fails: {what}");
            match what {
                "hang" => loop {
                    thread::park();
                },
                "stop" => signal("STOP"),
                "kill" => signal("KILL"),
                "panic" => panic!("as it was told"),
                "end" => return Ok(()),
                _ => return Err("expected hang, stop, kill, panic or end".into()),
            }
        }
        let len = 1 << 16;
        let ranks = world.count();
        let done = ask(world, move |calls| {
            calls.all_to_all(&vec![1.0; len * ranks], &mut vec![0.0; len * ranks])
        });
        if let Err(error) = done {
            println!("rank {} is told: {error}", world.rank());
            if world.rank() == 0 {
                // As long as a checkpoint takes.
                thread::sleep(Duration::from_secs(1));
                println!("rank 0 has saved");
            }
            return Err(error.into());
        }
    }
    Ok(())
}

/// Sends this process a signal.
fn signal(name: &str) {
    let pid = process::id().to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill is a program");
}
