//! What the headers of pictures say.

use image::ImageFormat;

use super::super::DataError;
use super::super::error::loses_only_itself;
use super::super::header::{Fault, Header};
use super::super::store::{Place, Store};
use super::Entries;
use crate::base::threads;

/// GIFs are placeholders if fewer than one picture in this many is a GIF.
const PLACEHOLDERS: usize = 50;

/// The number of GIFs and of other pictures, if the GIFs are so few that they are placeholders.
pub(in crate::data) fn holds_placeholders(
    headers: &[Result<Header, String>],
) -> Option<(usize, usize)> {
    let readable = || headers.iter().flatten();
    let gifs = readable().filter(|h| h.format == ImageFormat::Gif).count();
    let others = readable().count() - gifs;
    (gifs > 0 && gifs * PLACEHOLDERS < others).then_some((gifs, others))
}

/// Headers of pictures, in order, or why one of them cannot be used; their places are completed.
/// They are read in the order of the shards by a few threads, since on a slow disk waiting is most
/// of the work.
///
/// # Errors
/// The system failed: nothing can be told from this.
pub(in crate::data) fn read_headers(
    entries: &mut Entries,
    store: &dyn Store,
) -> Result<Vec<Result<Header, String>>, DataError> {
    let mut order: Vec<u32> = (0..entries.len() as u32).collect();
    order.sort_by_key(|&index| {
        let Place { shard, at, .. } = entries.get(index as usize).place;
        (shard, at)
    });
    let pictures: &Entries = entries;
    let read = |(): &mut (), &index: &u32| {
        let entry = pictures.get(index as usize);
        match store.header(&entry) {
            Ok(found) => Ok(Ok(found)),
            Err(Fault::Io(error)) if !loses_only_itself(&error) => {
                Err(DataError::io(store.name(&entry), error))
            }
            Err(fault) => Ok(Err(fault.text())),
        }
    };
    let read = threads::map_with(&order, threads::cores().clamp(2, 8), || (), read);
    let mut headers = vec![Err(String::new()); entries.len()];
    for (index, found) in order.into_iter().zip(read) {
        headers[index as usize] = found?.map(|(header, place)| {
            entries.set_place(index as usize, place);
            header
        });
    }
    Ok(headers)
}
