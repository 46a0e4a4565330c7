//! Which rank is missing, of what the watchdogs tell each other.

use std::time::Duration;

use crate::mpi::NOTE;

/// What a watchdog tells of its rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Whether it wants to know the same.
    pub(crate) asks: bool,
    /// Twice the calls that are done, and one more inside a call.
    pub(crate) progress: u64,
    /// Whether its caller wants nothing more.
    pub(crate) ending: bool,
}

impl Note {
    pub(crate) fn to_bytes(self) -> [u8; NOTE] {
        let mut bytes = [0; NOTE];
        let words = [self.asks.into(), self.progress, self.ending.into()];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = u64::to_le_bytes(word);
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; NOTE]) -> Self {
        let word =
            |i: usize| bytes.as_chunks().0.get(i).map_or(0, |word| u64::from_le_bytes(*word));
        Self { asks: word(0) != 0, progress: word(1), ending: word(2) != 0 }
    }

    fn is_inside(self) -> bool {
        self.progress % 2 == 1
    }
}

/// Why the run cannot go on; none where it can. `heard` has every rank's note, this one's too.
pub(crate) fn judge(
    heard: &[Option<Note>],
    hosts: &[String],
    patience: Duration,
) -> Option<String> {
    let furthest = heard.iter().flatten().map(|note| note.progress).max()?;
    let known = |holds: &dyn Fn(Note) -> bool| named(heard, hosts, &|note| note.is_some_and(holds));
    let silent = named(heard, hosts, &|note| note.is_none());
    let behind = known(&|note| note.progress < furthest && !note.is_inside());
    let waited = format!("for {} s", patience.as_secs_f64().ceil());
    let missing = [
        (silent, "cannot be heard any more: stopped, or cut off"),
        (behind, "asked for nothing, while others wait: its program hangs or is slow"),
    ];
    let missing =
        missing.iter().filter_map(|(ranks, what)| Some(format!("{} {what}", ranks.as_ref()?)));
    let missing: Vec<String> = missing.collect();
    if !missing.is_empty() {
        let longer = "RESNET_MPI_TIMEOUT=SECONDS waits longer";
        return Some(format!(
            "nothing went on {waited}. Missing: {}; {longer}",
            missing.join("; ")
        ));
    }
    let everyone_computes = heard.iter().flatten().all(|note| !note.is_inside());
    if everyone_computes {
        return None;
    }
    Some(match known(&|note| note.ending) {
        Some(ended) if heard.iter().flatten().any(|note| !note.ending) => {
            format!("{ended} ended, and the others still wait for it {waited}")
        }
        _ => format!(
            "no call between the processes has ended {waited}, and none of them is missing: what \
             connects {} may be cut",
            machines(hosts)
        ),
    })
}

/// `rank 1 on a, rank 3 on b` of those that are meant.
fn named(
    heard: &[Option<Note>],
    hosts: &[String],
    is: &dyn Fn(Option<Note>) -> bool,
) -> Option<String> {
    let meant = heard.iter().zip(hosts).enumerate().filter(|(_, (note, _))| is(**note));
    let ranks: Vec<String> = meant.map(|(i, (_, host))| format!("rank {i} on {host}")).collect();
    const SHOWN: usize = 8;
    let more = ranks.len().saturating_sub(SHOWN);
    let text = ranks[..ranks.len() - more].join(", ");
    match (ranks.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(text),
        (false, more) => Some(format!("{text} and {more} more")),
    }
}

fn machines(hosts: &[String]) -> String {
    let mut names: Vec<&str> = hosts.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    match names.len() {
        1 => format!("processes on {}", names[0]),
        2..=4 => names.join(", "),
        count => format!("{count} machines"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(notes: &[Option<(u64, bool)>]) -> Option<String> {
        let heard: Vec<_> = notes
            .iter()
            .map(|note| note.map(|(progress, ending)| Note { asks: false, progress, ending }))
            .collect();
        let hosts: Vec<String> = (0..notes.len()).map(|i| format!("node{}", i / 2)).collect();
        judge(&heard, &hosts, Duration::from_secs(300))
    }

    #[test]
    fn who_is_missing_is_named() {
        let inside = Some((7, false));
        let silent = said(&[inside, inside, None, inside]).unwrap();
        assert!(silent.contains("Missing: rank 2 on node1 cannot be heard"), "{silent}");
        let hung = said(&[Some((6, false)), inside, inside]).unwrap();
        assert!(hung.contains("300 s. Missing: rank 0 on node0 asked for nothing"), "{hung}");
        let both = said(&[Some((4, false)), None, inside]).unwrap();
        assert!(both.contains("rank 1 on node0 cannot") && both.contains("rank 0 on"), "{both}");
        let many = said(&[&[inside; 3][..], &[None; 10]].concat()).unwrap();
        assert!(many.contains("rank 10 on node5 and 2 more cannot"), "{many}");
    }

    #[test]
    fn a_call_that_does_not_end_is_told_and_long_work_is_not() {
        assert_eq!(said(&[Some((6, false)); 3]), None);
        let cut = said(&[Some((7, false)); 3]).unwrap();
        assert!(cut.contains("node0, node1 may be cut"), "{cut}");
        let ended = said(&[Some((7, false)), Some((7, true))]).unwrap();
        assert!(ended.contains("rank 1 on node0 ended"), "{ended}");
    }

    #[test]
    fn notes_survive_their_bytes() {
        let note = Note { asks: true, progress: u64::MAX - 1, ending: false };
        assert_eq!(Note::from_bytes(note.to_bytes()), note);
        let note = Note { asks: false, progress: 3, ending: true };
        assert_eq!(Note::from_bytes(note.to_bytes()), note);
    }
}
