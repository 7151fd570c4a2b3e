//! See `mesh_fuzz::resources`. Without the fuzzer it runs the files that are named as arguments.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| mesh_fuzz::resources::listener(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    mesh_fuzz::replay(mesh_fuzz::resources::listener)
}
