//! Random people under a virtual clock, against a shadow model: whatever they do, everybody sees
//! exactly what the rules say, and nothing else.
//!
//! `world` drives the real decoders, chat, outboxes and queues; `model` says, on its own and naively,
//! what each client must see; `laws` holds what needs no rules to be judged; `people` decides what
//! happens. One number, the seed, decides everything: `scripts/sim SEED` replays one.

#![allow(unreachable_pub, clippy::disallowed_methods, clippy::cast_possible_truncation)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "simulation/fixed.rs"]
mod fixed;
#[path = "simulation/laws.rs"]
mod laws;
#[path = "simulation/model/mod.rs"]
mod model;
#[path = "simulation/people.rs"]
mod people;
#[path = "common/random.rs"]
mod random;
#[path = "simulation/screen.rs"]
mod screen;
#[path = "simulation/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use people::Script;
use random::Random;
use world::World;

/// Steps of one seed.
const STEPS: usize = 2000;
/// Seeds of a plain `cargo test`, which is not optimised; `scripts/sim` runs 2000.
const SEEDS: u64 = 40;
/// Steps that are shown when a replayed seed fails.
const SHOWN: usize = 40;

/// Runs one seed to its end.
fn run(seed: u64, world: &mut Option<World>, trace: bool) {
    let mut rng = Random::of(seed, 0);
    let mut script = Script::new(&mut rng);
    let rules = script.rules.clone();
    let world = world.insert(World::new(rng, rules, script.send_queue, trace));
    for _ in 0..STEPS {
        script.step(world);
        if !world.rng.once_in(4) {
            let rounds = world.rng.weighted(&[(3, 0), (2, 3), (1, 60)]);
            for who in world.everybody() {
                if world.rng.once_in(2) {
                    let bytes = world.rng.weighted(&[(1, usize::MAX), (1, 1), (1, 900)]);
                    world.deliver(who, bytes);
                }
            }
            world.turn(rounds);
        }
    }
    script.end(world);
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs many seeds, or with `SIM_SEED` one, telling its last steps.
#[test]
fn everybody_sees_what_the_rules_say() {
    if let Some(seed) = env("SIM_SEED") {
        let mut world = None;
        let result = catch_unwind(AssertUnwindSafe(|| run(seed, &mut world, true)));
        let trace = world.and_then(|world| world.trace).unwrap_or_default();
        for step in trace.iter().skip(trace.len().saturating_sub(SHOWN)) {
            println!("{step}");
        }
        println!(
            "seed {seed}: {} steps told, {}",
            trace.len(),
            if result.is_ok() { "fine" } else { "FAILED" }
        );
        assert!(result.is_ok(), "seed {seed} fails");
        return;
    }
    let first = env("SIM_FIRST").unwrap_or(1);
    let seeds = env("SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let failed = AtomicU64::new(u64::MAX);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed) == u64::MAX {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    if catch_unwind(AssertUnwindSafe(|| run(seed, &mut None, false))).is_err() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert!(failed == u64::MAX, "seed {failed} fails; to see its last steps: scripts/sim {failed}");
}
