//! The real worker and client over the memory store, in virtual time, with all that can go wrong. All chance
//! comes from one number, the seed: the same seed is the same run.
//!
//! A seed that fails is printed with the command that runs it again and prints what happened.

#![expect(
    clippy::print_stdout,
    reason = "what somebody asks for by hand is printed"
)]
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod checked;
mod clients;
mod dice;
mod gated;
mod handler;
mod life;
mod model;
mod run;
mod trace;
mod world;

use self::run::simulate;

/// How many attempts each test makes: eight of them a million.
const ATTEMPTS: u64 = 125_000;

/// Runs seeds from this one on until there were enough attempts.
fn run_from(first: u64) {
    let (mut attempts, mut seed) = (0, first);
    while attempts < ATTEMPTS {
        assert!(
            seed < first + 1_000,
            "seeds make too few attempts: {attempts}"
        );
        attempts += simulate(seed, false).expect_good(seed);
        seed += 1;
    }
    println!("{attempts} attempts in {} seeds", seed - first);
}

macro_rules! seeds {
    ($($name:ident: $first:expr;)*) => {
        $(#[test] fn $name() { run_from($first); })*
    };
}

seeds! {
    seeds_from_0: 0;
    seeds_from_1000: 1_000;
    seeds_from_2000: 2_000;
    seeds_from_3000: 3_000;
    seeds_from_4000: 4_000;
    seeds_from_5000: 5_000;
    seeds_from_6000: 6_000;
    seeds_from_7000: 7_000;
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..8 {
        let (first, second) = (simulate(seed, true), simulate(seed, true));
        let differ = first.lines.iter().zip(&second.lines).find(|(a, b)| a != b);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_ne!(first.digest, simulate(seed + 1, false).digest);
    }
}

/// Runs the seed of the environment and prints what happened; without one there is nothing to do.
#[test]
fn replay() {
    let Ok(seed) = std::env::var("PURLIN_SIMULATION_SEED") else {
        return;
    };
    let seed = seed.parse().expect("a seed is a number");
    let told = simulate(seed, true);
    for line in &told.lines {
        println!("{line}");
    }
    told.expect_good(seed);
}
