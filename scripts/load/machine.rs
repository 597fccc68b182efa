//! What the kernel is asked: figures of a process, where it runs, descriptors, and exact wake-ups.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// As many descriptors as the hard limit allows.
pub(super) fn raise_descriptor_limit() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Keeps a thread on one core: this one, or the one of this id.
pub(super) fn pin(thread: Option<i32>, core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(thread.and_then(Pid::from_raw), &cores)?)
}

/// A process, by what `/proc` says about it (proc(5)).
#[derive(Debug, Clone)]
pub(super) struct Process {
    dir: String,
}

/// What a process holds, in KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) rss: u64,
    pub(super) pss: u64,
    pub(super) private_dirty: u64,
}

impl Process {
    pub(super) fn new(pid: i32) -> Self {
        Self { dir: format!("/proc/{pid}") }
    }

    /// This process.
    pub(super) fn own() -> Self {
        Self { dir: "/proc/self".to_owned() }
    }

    /// Processor time used so far: to the nanosecond for a process of one thread. `schedstat` knows
    /// only its own thread, so that others are measured in ticks of 10 ms.
    pub(super) fn cpu(&self) -> io::Result<Duration> {
        if self.tasks()?.len() == 1
            && let Ok(text) = fs::read_to_string(format!("{}/schedstat", self.dir))
            && let Some(nanos) = text.split_whitespace().next().and_then(|text| text.parse().ok())
        {
            return Ok(Duration::from_nanos(nanos));
        }
        let stat = fs::read_to_string(format!("{}/stat", self.dir))?;
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// The ids of its threads.
    pub(super) fn tasks(&self) -> io::Result<Vec<i32>> {
        let names = fs::read_dir(format!("{}/task", self.dir))?.map_while(Result::ok);
        Ok(names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    pub(super) fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("{}/fd", self.dir))?.count())
    }

    pub(super) fn rss_kib(&self) -> io::Result<u64> {
        field(&format!("{}/status", self.dir), "VmRSS:")
    }

    pub(super) fn memory(&self) -> io::Result<Memory> {
        let path = format!("{}/smaps_rollup", self.dir);
        Ok(Memory {
            rss: self.rss_kib()?,
            pss: field(&path, "Pss:")?,
            private_dirty: field(&path, "Private_Dirty:")?,
        })
    }
}

/// The number behind a name in one of `/proc`'s files.
fn field(path: &str, name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {name} in {path}")))
}

/// A wake-up that is exact: poll itself counts in milliseconds, which is more than what is measured.
pub(super) struct Alarm(OwnedFd);

impl Alarm {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Wakes the poll after this time, and not at an earlier one set before.
    pub(super) fn set(&self, after: Duration) -> io::Result<()> {
        // Zero would switch it off.
        let after = after.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(after).map_err(io::Error::other)?,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
