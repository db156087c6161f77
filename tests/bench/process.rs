//! CPU and memory of the process under test, read from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Takes all the descriptors that this process may have.
pub(crate) fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(())
}

/// Which processors the calling thread, and all that it starts from now on, may run on.
pub(crate) fn stay_on(processors: impl Iterator<Item = usize>) -> io::Result<()> {
    let mut set = CpuSet::new();
    processors.for_each(|p| set.set(p));
    Ok(sched_setaffinity(None, &set)?)
}

/// What a process and its children have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
    pub(crate) threads: u32,
}

/// Reads a process and all its descendants.
pub(crate) fn usage(pid: u32) -> io::Result<Usage> {
    let mut total = Usage::default();
    let mut left = vec![pid];
    while let Some(pid) = left.pop() {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = task?.path();
            // A thread may end between the listing and the reading.
            let Ok(stat) = fs::read_to_string(path.join("schedstat")) else { continue };
            let ran_ns: u64 = stat.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
            total.cpu += Duration::from_nanos(ran_ns);
            total.threads += 1;
            let children = fs::read_to_string(path.join("children")).unwrap_or_default();
            left.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
        total.resident_bytes += resident_bytes(pid)?;
    }
    Ok(total)
}

fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
    Ok(kib * 1024)
}
