//! What changes, as it changes: server-sent events. A reader gets the latest state whenever it has
//! taken what was sent before, so a slow one misses steps in between and nothing waits for it.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;

use super::site::Site;
use crate::http::{Phase, Sender};

/// A connection that nothing happens on is kept open by a comment.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Sends what changes until the reader has gone or the board closes.
pub(super) async fn send(site: Arc<Site>, to: Sender) {
    let mut changed = site.changed();
    let mut phase = site.phase();
    let mut since = 0;
    loop {
        // All room is free once everything before was taken.
        let room = tokio::select! {
            room = to.reserve_many(to.max_capacity()) => room,
            _ = phase.wait_for(|phase| *phase == Phase::Closing) => return,
        };
        let Ok(mut room) = room else { return };
        changed.mark_unchanged();
        let changes = site.changes(since);
        since = changes.version;
        let json = serde_json::to_string(&changes).unwrap_or_default();
        if let Some(place) = room.next() {
            place.send(Bytes::from(format!("event: runs\ndata: {json}\n\n")));
        }
        drop(room);
        loop {
            tokio::select! {
                changed = changed.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = tokio::time::sleep(HEARTBEAT) => {
                    // Where there is no room, something is on its way anyway.
                    let _ = to.try_send(Bytes::from_static(b": still here\n\n"));
                }
                () = to.closed() => return,
                _ = phase.wait_for(|phase| *phase == Phase::Closing) => return,
            }
        }
    }
}
