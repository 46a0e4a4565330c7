//! The operations of residual networks on slices: fast on this CPU, and once more plainly.
