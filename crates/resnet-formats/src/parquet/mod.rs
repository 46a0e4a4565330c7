//! Parquet files: tables by columns, of which pictures and their labels are read by place.
//!
//! [`Footer::read`] tells columns and row groups; [`Footer::numbers`], [`Footer::texts`] and
//! [`Footer::spots`] go through a column of one group, the last without reading its values: a
//! [`Spot`] says where one lies, so that it can be read at random later, by [`unpack`] where its
//! page is compressed. Read are flat columns, also inside of structs, that are plain or by
//! dictionary, as they are or compressed by Snappy, Zstandard or gzip. [`Writer`] writes tables of
//! pictures.
//!
//! Nothing is trusted: pages lie inside their chunk and chunks inside the file, rows are no more
//! than bytes, and what a page unpacks to is bounded by what it is packed in.
//!
//! Source: the format's specification and its `parquet.thrift`
//! (<https://parquet.apache.org/docs/file-format/>).

mod bytes;
mod column;
mod footer;
mod page;
mod runs;
mod thrift;
mod write;

pub use bytes::ReadAt;
pub use column::Spot;
pub use footer::{Column, Footer, Group, Kind};
pub use page::{Packing, unpack};
pub use write::{Row, Writer};
