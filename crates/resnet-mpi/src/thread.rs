//! The thread of communication: it starts MPI, makes every call, and ends it.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use crate::calls::{Calls, gather_by};
use crate::error::MpiError;
use crate::launched::Launched;
use crate::library::{Found, load};
use crate::shared::{Shared, Tell};
use crate::text::short;
use crate::watchdog;

/// What runs on the thread.
pub type Work = Box<dyn FnOnce(&mut Calls) + Send>;

/// Joins the processes that a launcher started.
pub(crate) fn join(
    launched: &Launched,
    patience: Option<Duration>,
    tell: Tell,
) -> Result<Shared, MpiError> {
    let Found { mpi, path } = load(launched.launcher)?;
    let several = mpi.init()?;
    let (rank, count) = mpi.place()?;
    let about = short(&mpi.version());
    if let Some(error) = mismatch(launched, rank, count, &format!("{path} ({about})")) {
        // A world of one ends without others.
        if count == 1 {
            mpi.finalize()?;
        }
        return Err(error);
    }
    mpi.prepare()?;
    let hosts = gather_by(mpi.as_ref(), count, mpi.host().as_bytes())?;
    let hosts = hosts.iter().map(|host| String::from_utf8_lossy(host).into_owned()).collect();
    Ok(Shared::new(mpi, rank, hosts, about, several, patience, tell))
}

/// What launcher and library disagree about.
fn mismatch(launched: &Launched, rank: usize, count: usize, library: &str) -> Option<MpiError> {
    let same = |claimed: Option<usize>, is: usize| claimed.is_none_or(|claimed| claimed == is);
    if same(launched.rank, rank) && same(launched.count, count) {
        return None;
    }
    let place = |rank: Option<usize>, count: Option<usize>| match (rank, count) {
        (Some(rank), Some(count)) => format!("rank {rank} of {count}"),
        (Some(rank), None) => format!("rank {rank}"),
        (None, Some(count)) => format!("one of {count} ranks"),
        (None, None) => "a rank".into(),
    };
    Some(MpiError::Mismatch {
        launcher: launched.launcher,
        claimed: place(launched.rank, launched.count),
        library: library.to_string(),
        answered: place(Some(rank), Some(count)),
    })
}

/// Works until nobody has work any more, then ends MPI.
pub(crate) fn run(shared: &Arc<Shared>, work: Receiver<Work>) {
    let watchdog = watchdog::start(shared);
    let ends_all = EndsAll(shared);
    let mut calls = Calls::new(shared.clone());
    work.into_iter().for_each(|work| work(&mut calls));
    shared.set_ending();
    // Ends together: MPI's own end waits for all as well, and nobody could watch it.
    let met = shared.call(|mpi| mpi.meet());
    drop(ends_all);
    shared.end_watch();
    if let Some(watchdog) = watchdog {
        // It panics only where telling did, which has been told.
        let _ = watchdog.join();
    }
    match met {
        // The others have what they wanted, whatever it says.
        Ok(()) => drop(shared.mpi.finalize()),
        // It would wait for who is lost.
        Err(_) => shared.let_first_save(),
    }
}

/// Work that panics ends the run: the others would wait for it.
struct EndsAll<'a>(&'a Arc<Shared>);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abort(101);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launched::Launcher;

    #[test]
    fn what_launcher_and_library_say_is_compared() {
        let launched = |rank, count| Launched {
            launcher: Launcher::OpenMpi,
            rank: Some(rank),
            count,
            local: None,
        };
        assert_eq!(mismatch(&launched(1, Some(4)), 1, 4, "x"), None);
        assert_eq!(mismatch(&launched(0, None), 0, 1, "x"), None);
        for (told, rank, count) in
            [(launched(0, Some(4)), 0, 1), (launched(1, None), 0, 1), (launched(1, Some(4)), 2, 4)]
        {
            let error = mismatch(&told, rank, count, "libmpich.so.12 (MPICH 4.0.2)").unwrap();
            let text = error.to_string();
            let parts = ["Open MPI's launcher", "MPICH 4.0.2", "RESNET_MPI to the path", "mpirun"];
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }
}
