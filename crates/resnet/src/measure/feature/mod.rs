//! What the layers of a trained network answer to: the pictures that excite their channels most,
//! pictures made for a channel, what a linear classifier makes of each block's maps, and what is
//! lost without a block.

mod field;
mod learned;
mod lesion;
mod points;
mod spread;
mod survey;
mod synth;

pub use field::{Field, fields};
pub use learned::{Learned, Told, learned};
pub use lesion::{Lesion, Lesions, Score, lesions};
pub use points::{Point, points, stages};
pub use spread::{LinearProbe, participation};
pub use survey::{Channel, Peak, Survey, TOP, survey};
pub use synth::{Made, synthesise};
