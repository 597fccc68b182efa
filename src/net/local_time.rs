//! The machine's time zone: what `TZ` says (tzset(3)), or else /etc/localtime, or else universal
//! time. And its wall clock.
//!
//! Files are read once, at the start.

use std::env;
use std::path::Path;
use std::time::SystemTime;

use tz::TimeZone;

use crate::clock::Zone;

/// The machine's zone without `TZ`; usually a link whose target gives the zone's name.
const LOCAL: &str = "/etc/localtime";
/// Where the zone files are whose path gives the zone's name.
const ZONES: &str = "zoneinfo/";

/// The zone of this process.
pub(super) fn zone() -> Zone {
    match env::var("TZ") {
        Ok(name) if name.is_empty() => Zone::utc(),
        Ok(name) => match TimeZone::from_posix_tz(&name) {
            Ok(rules) => Zone::new(rules, name.trim_start_matches(':')),
            Err(e) => {
                log::warn!("TZ={}: no zone of that name - {e}", name.escape_debug());
                Zone::utc()
            }
        },
        Err(_) => local(),
    }
}

fn local() -> Zone {
    let Ok(rules) = TimeZone::local() else { return Zone::utc() };
    let link = Path::new(LOCAL).canonicalize().ok();
    let path = link.as_deref().and_then(Path::to_str).unwrap_or(LOCAL);
    let name = path.split_once(ZONES).map_or(LOCAL, |(_, name)| name);
    Zone::new(rules, name)
}

/// Seconds since the beginning of 1970.
pub(super) fn unix_secs() -> i64 {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // A clock that was never set.
        Err(_) => 0,
    }
}
