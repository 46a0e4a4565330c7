//! Pages and pictures as text: charts, tables, drawings of networks.

pub mod charts;
pub mod draw;
