//! Reading problems with `reqwest`.
