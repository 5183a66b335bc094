//! The machine's part: cores, and bytes that no processor can take short cuts with.

use std::io::Error;

fn cores() -> Vec<usize> {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the set, whose size it is told.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
    assert_eq!(result, 0, "sched_getaffinity: {}", Error::last_os_error());
    let bits = 8 * size_of_val(&set);
    // SAFETY: the number is less than the set's bits.
    (0..bits).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect()
}

/// The cores that there were when the program began.
pub(crate) fn cores_of_machine() -> &'static [usize] {
    static CORES: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    CORES.get_or_init(cores)
}

/// Keeps the calling thread on one core.
pub(crate) fn pin(core: usize) {
    cores_of_machine();
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cores` gave the number.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the set is whole, and its size is told.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(result, 0, "sched_setaffinity: {}", Error::last_os_error());
}

/// Keeps the calling thread on the last core there is: the first one serves most interrupts.
pub(crate) fn pin_somewhere() {
    pin(*cores_of_machine().last().expect("this runs on some core"));
}

/// Lets this process open as many files as it may.
pub(crate) fn allow_many_files() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(result, 0, "getrlimit: {}", Error::last_os_error());
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the struct is whole.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    assert_eq!(result, 0, "setrlimit: {}", Error::last_os_error());
    limit.rlim_cur
}

/// Fills memory with bytes that do not repeat and are seldom zero: zeros are copied up to twice as fast on some
/// machines. Source: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
pub(crate) fn scribble(bytes: &mut [u8]) {
    let mut state = 0x6d61_7073_6861_7265_u64;
    for piece in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
    }
}

/// The second half of a line of /proc/self/status, in KiB.
pub(crate) fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells this");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").trim().parse().expect("a number of KiB")
}

/// One line about where the figures come from.
pub(crate) fn describe() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {} cores, Linux {}, load {load} (of others, it makes figures uncertain)",
        model.trim_start_matches(['\t', ' ', ':']),
        cores_of_machine().len(),
        release.trim()
    )
}
