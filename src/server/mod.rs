//! The desk: everything that issues tokens.
