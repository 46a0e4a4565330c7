//! The real binary, in temporary folders.

mod bench;
mod board;
mod calibrate;
mod commands;
mod compare;
mod data;
mod devices;
mod doctor;
mod draw;
mod explain;
mod export_events;
mod finetune;
mod first_use;
mod hints;
mod inspect;
mod pack;
mod places;
mod promises;
mod published;
mod runs;
mod serve;
mod sources;
mod support;
mod terminal;
mod weights;
mod wrong_input;
