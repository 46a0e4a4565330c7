//! Networks as a picture, drawn to scale and side by side: figure 3 of He et al. 2015, for any
//! network.
//!
//! One column a network, the image at the top and the logits at the bottom; one box a layer with
//! weights; what stands at the same height has maps of the same size. A shortcut is an arc from
//! where the map is kept to where it is added.
//!
//! From the bottom up: `trace` finds rows and shortcuts in a
//! [`Graph`](resnet_engine::graph::Graph), `fold` leaves out repetitions, `layout` gives everything
//! its place, `paint` and `key` write the SVG. [`block`] draws one block in detail, [`family`]
//! whole networks with one line a layer. Nothing knows any network by name.

pub mod block;
pub mod family;
mod fold;
mod key;
mod layout;
mod network;
mod paint;
mod trace;

pub use network::{DrawError, MOST_NETWORKS, Network};

/// Networks side by side, as an SVG file of its own for light and dark screens.
///
/// # Errors
/// No network, too many, or one whose graph has another form than a path with shortcuts.
pub fn draw(networks: &[Network]) -> Result<String, DrawError> {
    let traces = traces(networks)?;
    Ok(paint::file(&layout::lay_out(&traces, paint::FILE_TOP)))
}

/// The same as an `svg` element for a page that holds the styles of
/// [`palette`](crate::page::charts::palette); `id` makes the ids inside it unique in the page.
///
/// # Errors
/// As [`draw`].
pub fn embed(networks: &[Network], id: &str) -> Result<String, DrawError> {
    let traces = traces(networks)?;
    Ok(paint::element(&layout::lay_out(&traces, 0.0), id))
}

fn traces(networks: &[Network]) -> Result<Vec<trace::Trace>, DrawError> {
    match networks.len() {
        0 => Err(DrawError::Nothing),
        found if found > MOST_NETWORKS => Err(DrawError::TooMany { found }),
        _ => networks.iter().map(trace::trace).collect(),
    }
}
