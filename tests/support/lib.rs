//! Support code shared by the targets of this package.
