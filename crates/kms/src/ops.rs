//! The operations, by what they are about.

mod aliases;
mod crypto;
mod grants;
mod keys;
mod pages;
mod policies;
mod random;
mod retire;
mod rotation;
mod status;
mod tags;
