//! The zone of the machine: what `TZ` says (tzset(3)), else /etc/localtime, else universal time. And the
//! clock on its wall.
//!
//! Files are read once, at the start.

use std::env;
use std::path::Path;
use std::time::SystemTime;

use tz::TimeZone;

use crate::clock::Zone;

/// What the machine's zone is without `TZ`; mostly a link to what it is called.
const LOCAL: &str = "/etc/localtime";
/// Where the zones are that have a name, in the path of each.
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
        // A clock that nobody has set.
        Err(_) => 0,
    }
}
