use std::net::SocketAddr;

use crate::{fake_provider::Knobs, vars::Vars};

/// What the names of all its variables begin with.
pub const PREFIX: &str = "FAKE_PROVIDER_";

const ADDR: &str = "FAKE_PROVIDER_ADDR";
const SEED: &str = "FAKE_PROVIDER_SEED";
const OWN: [&str; 7] = [
    ADDR,
    SEED,
    "FAKE_PROVIDER_LATENCY_MS",
    "FAKE_PROVIDER_FAIL_RATE",
    "FAKE_PROVIDER_HANG_RATE",
    "FAKE_PROVIDER_REFUSE_RATE",
    "FAKE_PROVIDER_DROP_AFTER_CHARGE_RATE",
];

/// What `--help` says about each variable, but the address.
pub const VARIABLES: &str = "\
  FAKE_PROVIDER_LATENCY_MS  how long a charge takes, up to 60000         (default: 0)
  FAKE_PROVIDER_FAIL_RATE   how many answer 500 and do not charge, 0..1  (default: 0)
  FAKE_PROVIDER_HANG_RATE   how many never answer and do not charge      (default: 0)
  FAKE_PROVIDER_REFUSE_RATE how many answer 402 and do not charge; a key that was
                            refused stays so                             (default: 0)
  FAKE_PROVIDER_DROP_AFTER_CHARGE_RATE
                            how many charge and then close the connection
                            without an answer                            (default: 0)
  FAKE_PROVIDER_SEED        a whole number; the same seed and the same sequence of
                            requests fail in the same places             (default: 0)";

/// All that can be set at start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen. Of no meaning where it is built in.
    pub addr: SocketAddr,
    /// Where the random numbers begin that the rates are compared with.
    pub seed: u64,
    /// How it misbehaves until it is told otherwise.
    pub knobs: Knobs,
    /// Variables that look like its own and are not.
    pub unknown: Vec<String>,
}

impl Settings {
    /// Reads its variables; what is wrong with them is kept in `vars`.
    pub fn read(vars: &mut Vars) -> Self {
        let addr = vars.read(ADDR, |text| {
            text.parse()
                .map_err(|_| "is not an IP address and a port, such as 127.0.0.1:3001")
        });
        let seed = vars.read(SEED, |text| {
            text.parse()
                .map_err(|_| "is not a whole number from 0 to 18446744073709551615")
        });
        let mut knobs = Knobs::default();
        for knob in Knobs::NAMES {
            let variable = format!("{PREFIX}{}", knob.to_uppercase());
            vars.read(&variable, |text| knobs.set(knob, text));
        }
        Self {
            addr: addr.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 3001))),
            seed: seed.unwrap_or(0),
            knobs,
            unknown: vars.unknown(PREFIX, &OWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_has_its_variable() {
        for knob in Knobs::NAMES {
            let variable = format!("{PREFIX}{}", knob.to_uppercase());
            assert!(OWN.contains(&variable.as_str()), "{variable}");
            assert!(VARIABLES.contains(&variable), "{variable}");
        }
    }
}
