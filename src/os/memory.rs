//! Memory that was freed and is still ours.

#![expect(unsafe_code, reason = "the C library's allocator is asked by its own call")]

/// Gives back to the system what was freed: whole pages in the middle of the heap, which the C library keeps otherwise.
/// For after a great deal was needed for a moment. Does nothing where the library is another.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and locks what it walks through like any other call of the allocator.
    let _ = unsafe { libc::malloc_trim(0) };
}
